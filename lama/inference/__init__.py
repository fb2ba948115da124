"""Using a trained network; imports neither training nor data."""

from lama.inference.inpainter import Inpainter, load

__all__ = ["Inpainter", "load"]

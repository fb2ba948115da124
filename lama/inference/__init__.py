"""Using a trained network; imports neither training nor data."""

from lama.inference.folder import fill_all
from lama.inference.inpainter import Inpainter, load

__all__ = ["Inpainter", "fill_all", "load"]

"""Using a trained network; imports neither training nor data."""

from lama.inference.folder import fill_all
from lama.inference.inpainter import Inpainter, load
from lama.inference.refine import Refiner

__all__ = ["Inpainter", "Refiner", "fill_all", "load"]

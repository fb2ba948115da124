"""Using a trained network: whole images, crops, tiles, refinement. Knows nothing of training and data."""

from lama.inference.inpainter import Inpainter, load
from lama.inference.refine import Refiner

__all__ = ["Inpainter", "Refiner", "load"]

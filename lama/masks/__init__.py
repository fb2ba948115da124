"""Samplers of masks: callables ``(rng, height, width) -> bool (H, W)``, True = hole."""

from lama.masks.boxes import Boxes
from lama.masks.mixture import Mixture
from lama.masks.strokes import Strokes

__all__ = ["Boxes", "Mixture", "Strokes"]

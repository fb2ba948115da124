"""Samplers of masks: callables ``(rng, height, width) -> bool (H, W)``, True = hole."""

from lama.masks.composed import AreaLimits, Growing, Inverted, Mixture
from lama.masks.files import MaskFolder, Objects, PairedMasks
from lama.masks.shapes import Boxes, Grid, Outpainting, Strokes

__all__ = [
    "AreaLimits", "Boxes", "Grid", "Growing", "Inverted", "MaskFolder", "Mixture", "Objects", "Outpainting",
    "PairedMasks", "Strokes",
]  # fmt: skip

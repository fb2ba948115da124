"""Samplers of masks: callables ``(rng, height, width) -> bool (H, W)``, True = hole."""

from lama.masks.boxes import Boxes
from lama.masks.files import MaskFolder, Objects, PairedMasks
from lama.masks.grid import Grid
from lama.masks.growing import Growing
from lama.masks.limits import AreaLimits, Inverted
from lama.masks.mixture import Mixture
from lama.masks.outpainting import Outpainting
from lama.masks.strokes import Strokes

__all__ = [
    "AreaLimits", "Boxes", "Grid", "Growing", "Inverted", "MaskFolder", "Mixture", "Objects", "Outpainting",
    "PairedMasks", "Strokes",
]  # fmt: skip

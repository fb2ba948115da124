"""Sharpness of a filled hole against its surroundings: a blurred fill, or one that is too rough."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lama.interfaces import ImageMetric

RING = 32  # pixels: the surroundings are this wide
FLOOR = (0.5 / 255) ** 2  # the squared gradient of invisible noise, added to both energies


class SharpnessError(ImageMetric):
    """|log2(sharpness in the hole / sharpness of the ring of 32 pixels around it)|, in octaves; no truth is used.

    The sharpness of a region is the root of the mean squared gradient of the luminance: differences of neighbours in
    a row or a column, both inside the region. ``score`` takes the completed images (B, 3, H, W) in [0, 1] and the mask
    (B, 1, H, W), 1 = hole, and gives (B,): 0 for equal sharpness, 1 for half or double; nan without hole or ring.
    """

    label, higher_is_better, bounds = "sharpness error (hole)", False, (0.0, math.inf)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        weights = completed.new_tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
        luminance = (completed.double() * weights).sum(dim=1, keepdim=True)
        hole = (mask > 0.5).double()
        wider = F.max_pool2d(hole, (2 * RING + 1, 1), stride=1, padding=(RING, 0))
        wider = F.max_pool2d(wider, (1, 2 * RING + 1), stride=1, padding=(0, RING))
        inside, around = (_energy(luminance, region) for region in (hole, wider - hole))
        return (0.5 * torch.log2((inside + FLOOR) / (around + FLOOR))).abs()


def _energy(luminance: Tensor, region: Tensor) -> Tensor:
    """Mean squared gradient over a region, (B, 1, H, W) twice -> (B,); nan where the region has no pair of pixels."""
    total = pairs = torch.zeros(len(region), dtype=luminance.dtype, device=luminance.device)
    for dim in (2, 3):
        size = luminance.shape[dim] - 1
        both = region.narrow(dim, 0, size) * region.narrow(dim, 1, size)
        total = total + (luminance.diff(dim=dim).square() * both).flatten(1).sum(dim=1)
        pairs = pairs + both.flatten(1).sum(dim=1)
    return total / pairs

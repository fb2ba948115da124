"""Random images for benchmarks, which need no files."""

import torch
import torch.nn.functional as F
from torch import Tensor


def noise(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Noise of four scales (B, 3, size, size) in [0, 1], and a mask (B, 1, size, size) with a square hole."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(batch, 3, size, size)
    for side in (4, 16, 64, size):
        coarse = torch.rand(batch, 3, side, side, generator=generator)
        image += F.interpolate(coarse, (size, size), mode="bilinear") / 4
    mask = torch.zeros(batch, 1, size, size)
    mask[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    return image, mask

"""The input of a network from the pixels of an image and its hole."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lama.pixels.opened import Array, white


def network_input(pixels: Array, hole: NDArray[np.bool_]) -> Tensor:
    """(H, W, 3) of an image's type and (H, W) -> float32 (1, 4, H, W): masked RGB in [0, 1] and the mask.

    Written in place: for a large image, intermediate copies would take too much memory.
    """
    x = torch.empty(1, 4, *hole.shape)
    native = pixels.astype(pixels.dtype.newbyteorder("="), order="C", copy=True)  # torch wants it writable, not a view
    mask = torch.from_numpy(np.ascontiguousarray(hole))
    x[0, :3].copy_(torch.from_numpy(native).permute(2, 0, 1)).div_(white(pixels.dtype)).masked_fill_(mask, 0)
    x[0, 3].copy_(mask)
    return x

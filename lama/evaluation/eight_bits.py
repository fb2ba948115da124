"""Images of a batch in 8 bits, as published code reads them from files."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lama.interfaces import ImageArray, MaskArray


def to_8_bit(image: Tensor) -> NDArray[np.uint8]:
    """(B, 3, H, W) in [0, 1] -> (B, H, W, 3), 0..255."""
    array: NDArray[np.uint8] = (image * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return array


def each_image(score: Callable[[ImageArray, MaskArray], float], image: Tensor, mask: Tensor) -> Tensor:
    """``score`` of every image (B, 3, H, W) in [0, 1] and its hole, mask (B, 1, H, W), 1 = hole -> (B,), float64."""
    holes = (mask[:, 0] > 0.5).cpu().numpy()
    scores = [score(one, hole) for one, hole in zip(to_8_bit(image), holes, strict=True)]
    return torch.tensor(scores, dtype=torch.float64)

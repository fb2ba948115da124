"""Images of any depth in CIE Lab, and back."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]  # (H, W), (H, W, 1) or (H, W, 3), uint8, uint16 or float in [0, 1]


def to_lab(image: Image) -> NDArray[np.float32]:
    """(H, W, 3) CIE Lab with white D65: L from 0 to 100, a and b about -128 to 127; sRGB is assumed."""
    values = image.reshape(*image.shape[:2], -1).astype(np.float32) / np.float32(white(image.dtype))
    return np.asarray(cv2.cvtColor(np.repeat(values, 3, 2) if values.shape[2] == 1 else values, cv2.COLOR_RGB2Lab))


def from_lab(lab: NDArray[np.float32], like: Image) -> Image:
    """The image of kind, depth and number of channels of ``like``."""
    values = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_Lab2RGB).clip(0, 1) * np.float32(white(like.dtype))
    if like.ndim == 2 or like.shape[2] == 1:
        values = values.mean(2, keepdims=True)
    if like.dtype.kind != "f":
        values = np.rint(values)
    return values.astype(like.dtype).reshape(*lab.shape[:2], *like.shape[2:])


def white(dtype: np.dtype[Any]) -> int:
    """The value of white: 255, 65535, or 1 for floats."""
    return 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)

"""The part of an image that a figure enlarges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lama.interfaces import ImageArray, MaskArray

SHARE = 0.4  # of the width of an image
SHAPE = 0.5  # height : width


@dataclass(frozen=True)
class Box:
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: ImageArray) -> ImageArray:
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def box_of(zoom: Any, completed: Sequence[ImageArray], mask: MaskArray, name: str) -> Box | None:
    """The part that ``zoom`` asks for: None, [x, y, width], or "auto": where the first two results differ most.

    With a single result "auto" is the part with the most hole. Raises ValueError for another value, and for a part that
    is not inside the image.
    """
    if zoom is None:
        return None
    height, width = mask.shape
    if zoom == "auto":
        wide = max(2, round(SHARE * width))
        tall = min(height, max(1, round(SHAPE * wide)))
        first, second = completed[0], completed[min(1, len(completed) - 1)]
        difference = np.abs(first.astype(float) - second).sum(axis=2) * mask
        return _fullest(difference if difference.any() else mask.astype(float), wide, tall)
    if isinstance(zoom, str) or len(zoom) != 3 or not all(type(value) is int for value in zoom):
        raise ValueError(f"zoom={zoom}: expected auto, null, or [x,y,width] in pixels")
    left, top, wide = zoom
    box = Box(left, top, wide, max(1, round(SHAPE * wide)))
    if min(left, top) < 0 or wide < 2 or left + wide > width or top + box.height > height:
        raise ValueError(f"zoom={list(zoom)}: not inside {name}, which is {width} x {height} pixels")
    return box


def _fullest(values: Any, wide: int, tall: int) -> Box:
    """The box of this size with the largest sum of ``values`` (H, W)."""
    sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return Box(int(left), int(top), wide, tall)

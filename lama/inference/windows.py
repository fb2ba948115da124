"""Context around a hole, and an image as overlapping tiles."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lama.windows import Around, Window


def context(margin: int | None, height: int, width: int, multiple: int) -> Around:
    """The box grows by ``margin`` pixels on every side, within the image (None: half its longer side, at least 128).

    Then height and width grow to a multiple of ``multiple`` pixels within the image: such a window needs no padding.
    """

    def grow(low: int, high: int, by: int, size: int) -> tuple[int, int]:
        low, high = max(0, low - by), min(size, high + by)
        missing = -(high - low) % multiple
        high += (after := min(missing, size - high))
        return max(0, low - (missing - after)), high

    def around(box: Window) -> Window:
        by = max(128, max(box.height, box.width) // 2) if margin is None else margin
        return Window(*grow(box.top, box.bottom, by, height), *grow(box.left, box.right, by, width))

    return around


def tiles(region: Window, size: int, overlap: int) -> list[Window]:
    """Windows of at most ``size`` x ``size`` that cover ``region``, evenly spread; neighbours share ``overlap``."""

    def starts(length: int) -> list[int]:
        count = 1 if length <= size else -(-(length - overlap) // (size - overlap))
        return np.linspace(0, max(0, length - size), count).round().astype(int).tolist()

    return [
        Window(top, min(top + size, region.bottom), left, min(left + size, region.right))
        for top in (region.top + start for start in starts(region.height))
        for left in (region.left + start for start in starts(region.width))
    ]


def ramp(window: Window, region: Window, overlap: int) -> NDArray[Any]:
    """Weights (h, w) in ]0, 1] of a tile's pixels: 1, falling towards edges inside the region."""

    def side(length: int, before: bool, after: bool) -> NDArray[Any]:
        rising = np.minimum((np.arange(length, dtype=np.float32) + 1) / (overlap + 1), 1)
        flat = np.ones(length, np.float32)
        return (rising if before else flat) * (rising[::-1] if after else flat)

    rows = side(window.height, window.top > region.top, window.bottom < region.bottom)
    columns = side(window.width, window.left > region.left, window.right < region.right)
    return rows[:, None] * columns[None, :]


def sees(windows: Iterable[Window], unknown: NDArray[np.bool_]) -> bool:
    """Whether every window has a known pixel."""
    return not any(unknown[window.slices].all() for window in windows)

"""Windows of an image: around its holes, one for the holes that are near to each other; overlapping tiles."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CELLS = 64  # holes are separated on a grid of so many cells a side: specks that share a cell are one hole


@dataclass(frozen=True)
class Window:
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """To cut the window out of an array (H, W, ...)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def union(self, other: "Window") -> "Window":
        """The smallest window that holds both."""
        return Window(
            min(self.top, other.top), max(self.bottom, other.bottom),
            min(self.left, other.left), max(self.right, other.right),
        )  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A window to compute, and the pixels that are taken from its result."""

    window: Window
    take: NDArray[np.bool_]  # (window.height, window.width), within the hole


Around = Callable[[Window], Window]  # the box of a hole -> the same with its context


def hole_pieces(
    hole: NDArray[np.bool_], around: Around, fits: Callable[[int, int], bool] = lambda height, width: True
) -> list[Piece]:
    """A piece for each hole of (H, W) bool; holes share a window if that costs no more than theirs together and fits.

    The pieces' ``take`` are disjoint and together are the hole.
    """
    cell = -(-max(hole.shape) // _CELLS)
    rows, columns = (np.arange(0, size, cell) for size in hole.shape)
    coarse = np.logical_or.reduceat(np.logical_or.reduceat(hole, rows, axis=0), columns, axis=1)
    count, labels = connected(coarse)

    def part(window: Window, members: list[int]) -> NDArray[np.bool_]:
        """The pixels of some holes within a window."""
        theirs = np.isin(labels, members)
        rows, columns = np.arange(window.top, window.bottom) // cell, np.arange(window.left, window.right) // cell
        return theirs[rows][:, columns] & hole[window.slices]

    boxes = []
    for i in range(1, count):
        coarse_box = bounding_box(labels == i)
        box = Window(
            coarse_box.top * cell, min(coarse_box.bottom * cell, hole.shape[0]),
            coarse_box.left * cell, min(coarse_box.right * cell, hole.shape[1]),
        )  # fmt: skip
        boxes.append(bounding_box(part(box, [i]), box))
    return [Piece(around(box), part(around(box), members)) for box, members in _join(boxes, around, fits)]


def _join(boxes: list[Window], around: Around, fits: Callable[[int, int], bool]) -> list[tuple[Window, list[int]]]:
    """(box, labels of its holes) of every group; label i + 1 is ``boxes[i]``."""
    waiting = [(box, [label]) for label, box in enumerate(boxes, 1)]
    groups: list[tuple[Window, list[int]]] = []
    while waiting:
        box, members = waiting.pop()
        for i, (other, others) in enumerate(groups):
            joined = around(box.union(other))
            if joined.area <= around(box).area + around(other).area and fits(joined.height, joined.width):
                del groups[i]
                waiting.append((box.union(other), members + others))
                break
        else:
            groups.append((box, members))
    return groups


def bounding_box(mask: NDArray[np.bool_], within: Window | None = None) -> Window:
    """The smallest window that holds every True of ``mask``, which is a cut of ``within`` if that is given."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = (within.top, within.left) if within is not None else (0, 0)
    return Window(top + int(rows[0]), top + int(rows[-1]) + 1, left + int(columns[0]), left + int(columns[-1]) + 1)


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


def connected(cells: NDArray[np.bool_]) -> tuple[int, NDArray[np.int32]]:
    """The number of labels, 0 included, and the label of every cell (h, w): 0 where False, neighbours share one.

    Cells are neighbours in eight directions. Labels count from 1 in the order of OpenCV's ``connectedComponents``, by
    rows of blocks of 2 x 2, since the order decides which holes share a window. Meant for small grids.
    """
    labels, count = np.zeros(cells.shape, np.int32), 1
    bounds = range(cells.shape[0]), range(cells.shape[1])
    starts = zip(*(axis.tolist() for axis in np.nonzero(cells)), strict=True)
    for start in sorted(starts, key=lambda cell: (cell[0] // 2, cell[1] // 2)):
        if labels[start]:
            continue
        labels[start], waiting = count, [start]
        while waiting:
            row, column = waiting.pop()
            for cell in ((y, x) for y in (row - 1, row, row + 1) for x in (column - 1, column, column + 1)):
                if cell[0] in bounds[0] and cell[1] in bounds[1] and cells[cell] and not labels[cell]:
                    labels[cell] = count
                    waiting.append(cell)
        count += 1
    return count, labels

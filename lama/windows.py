"""Windows of an image, and the windows around its holes: one for the holes that are near to each other."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
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
    count, labels = cv2.connectedComponents(coarse.astype(np.uint8), connectivity=8)

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

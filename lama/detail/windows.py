"""Holes of an image, each with a window of known pixels around it to take texture from."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_CELLS = 64  # holes are told apart on a grid of so many cells a side
_LEAST_MARGIN = 128  # pixels
_MOST = 6_000_000  # pixels of a window, unless the hole's own box and the least margin are larger
_MOST_AT_ONCE = 12_000_000  # pixels of a hole's box: a larger one is cut in two
Box = tuple[int, int, int, int]  # top, bottom, left, right, the last ones left out


@dataclass(frozen=True)
class Area:
    """A window of the image, and the part of the hole that is filled from it."""

    slices: tuple[slice, slice]
    target: NDArray[np.bool_]  # (height, width) of the window


def areas(hole: NDArray[np.bool_]) -> list[Area]:
    """The windows of a hole (H, W): its parts that are near to each other share one, largest windows first.

    A window reaches beyond its hole by the hole's longer side and at least 128 pixels, and by less where it would have
    more than six million pixels. A hole whose own box has more than twelve million, such as specks all over a large
    photograph, is cut into parts, which are filled one after the other. Both bound the memory.
    """
    height, width = hole.shape
    cell = max(-(-max(height, width) // _CELLS), 1)
    rows, columns = np.nonzero(hole)
    if not len(rows):
        return []
    grid = np.zeros((height // cell + 1, width // cell + 1), np.uint8)
    grid[rows // cell, columns // cell] = 1
    _, labels = cv2.connectedComponents(cv2.dilate(grid, np.ones((3, 3), np.uint8)))
    groups = [[label] for label in range(1, labels.max() + 1)]
    of_pixel = labels[rows // cell, columns // cell]
    boxes = [_box(rows[of_pixel == label], columns[of_pixel == label]) for (label,) in groups]
    groups, boxes = _merge(groups, boxes, hole.shape)
    found = []
    for group, box in zip(groups, boxes, strict=True):
        inside = np.isin(of_pixel, group)
        found += _parts(rows[inside], columns[inside], box, hole.shape)
    return sorted(found, key=lambda area: -area.target.size)


def _parts(rows: NDArray[np.intp], columns: NDArray[np.intp], box: Box, shape: tuple[int, ...]) -> list[Area]:
    """The pixels of one hole, whose box is ``box``, with their window; several parts if the box is very large."""
    if _area(box) > _MOST_AT_ONCE:
        along = rows if box[1] - box[0] >= box[3] - box[2] else columns
        before = along < (along.min() + along.max() + 1) // 2
        halves = ((rows[half], columns[half]) for half in (before, ~before))
        return [area for y, x in halves for area in _parts(y, x, _box(y, x), shape)]
    top, bottom, left, right = _grow(box, shape)
    target = np.zeros((bottom - top, right - left), bool)
    target[rows - top, columns - left] = True
    return [Area((slice(top, bottom), slice(left, right)), target)]


def _box(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Box:
    return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1


def _merge(groups: list[list[int]], boxes: list[Box], shape: tuple[int, ...]) -> tuple[list[list[int]], list[Box]]:
    """Join holes whose shared window is no larger than their own ones together."""
    done: list[tuple[list[int], Box]] = []
    waiting = list(zip(groups, boxes, strict=True))
    while waiting:
        group, box = waiting.pop()
        for other in done:
            union = _union(box, other[1])
            if _area(_grow(union, shape)) <= _area(_grow(box, shape)) + _area(_grow(other[1], shape)):
                done.remove(other)
                waiting.append((group + other[0], union))
                break
        else:
            done.append((group, box))
    return [group for group, _ in done], [box for _, box in done]


def _union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3])


def _area(box: Box) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])


def _grow(box: Box, shape: tuple[int, ...]) -> Box:
    top, bottom, left, right = box
    margin = max(_LEAST_MARGIN, bottom - top, right - left)
    while True:
        grown = (max(top - margin, 0), min(bottom + margin, shape[0]),
                 max(left - margin, 0), min(right + margin, shape[1]))  # fmt: skip
        if _area(grown) <= _MOST or margin <= _LEAST_MARGIN:
            return grown
        margin = max(margin * 3 // 4, _LEAST_MARGIN)

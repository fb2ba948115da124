"""One level of the pyramid as PatchMatch sees it: integer arrays, centres, sources and costs."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

UNIT = 32  # steps of a unit of Lab: a detail of at most 100 units, squared and summed over a row, fits 32 bits
MOST = 100 * UNIT
Bytes = NDArray[np.uint8]
Short = NDArray[np.int16]
Int = NDArray[np.int32]
Long = NDArray[np.int64]


@dataclass
class Level:
    """Arrays are (H, W, ...) with a mirrored frame of ``radius`` pixels; indices are flat, row by row.

    A *centre* is a pixel whose patch touches the hole. A *source* is a pixel whose patch lies in known pixels. The
    centres are ordered like a chessboard: first all black fields, ``boundary`` of them, then all white fields.

    The cost of source q for centre p, in squared steps::

        sum over the patch of |detail(p) - detail(q)|^2
        + guide |low(p) - low(q)|^2 + slope |slope of low at p - at q|^2
        + locality(p) |p - q| + reuse used(q)

    A slope is the difference of the two pixels at ``radius`` on either side, along rows and along columns.
    """

    radius: int
    detail: Short  # (H, W, 4), the fourth is 0; the hole holds the present estimate
    low: Short  # (H, W, 4)
    hole: NDArray[np.bool_]  # (H, W)
    source: Bytes  # (H, W), 1 = a source
    centres: Int  # (n,)
    boundary: int
    locality: NDArray[np.float64]  # (n,)
    trust: NDArray[np.float64]  # (n,): weight of a centre's vote
    guide: int
    slope: int
    reuse: int
    threads: int
    match: Int  # (H, W): the source of each centre; -1 where there is none
    cost: Long = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,): of the match, without its reuse
    used: Int = field(default_factory=lambda: np.zeros((0, 0), np.int32))  # (H, W): how many centres take a source
    energy: Int = field(default_factory=lambda: np.zeros((0, 0), np.int32))  # (H, W): mean |voted detail|^2 of the hole

    def __post_init__(self) -> None:
        self.cost = np.zeros(len(self.centres), np.int64)
        self.used, self.energy = (np.zeros(self.hole.shape, np.int32) for _ in range(2))
        self.pixels = np.flatnonzero(self._inner()).astype(np.int32)  # of the hole, without the frame
        self.candidates = np.flatnonzero(self.source).astype(np.int32)

    def _inner(self) -> NDArray[np.bool_]:
        r, inner = self.radius, np.zeros_like(self.hole)
        inner[r:-r, r:-r] = self.hole[r:-r, r:-r]
        return inner

    def mirror(self) -> None:
        """Fill the frame anew from what lies inside it."""
        r, a = self.radius, self.detail
        a[:r], a[-r:] = a[2 * r : r : -1], a[-r - 2 : -2 * r - 2 : -1]
        a[:, :r], a[:, -r:] = a[:, 2 * r : r : -1], a[:, -r - 2 : -2 * r - 2 : -1]


def quantise(values: NDArray[np.float32]) -> Short:
    """(H, W, 3) in units of Lab -> (H, W, 4) in steps, clipped."""
    steps = np.zeros((*values.shape[:2], 4), np.int16)
    np.rint(values.clip(-MOST / UNIT, MOST / UNIT) * UNIT, out=steps[..., :3], casting="unsafe")
    return steps


def framed(array: NDArray[Any], radius: int) -> NDArray[Any]:
    """``array`` with a mirrored frame."""
    return np.ascontiguousarray(cv2.copyMakeBorder(array, radius, radius, radius, radius, cv2.BORDER_REFLECT_101))


def split_centres(hole: NDArray[np.bool_], target: NDArray[np.bool_], radius: int) -> tuple[Int, int, Bytes]:
    """Centres of ``target``, how many of the first colour, and sources outside ``hole``; all (H, W), framed."""
    patch = np.ones((2 * radius + 1,) * 2, np.uint8)
    inside = np.zeros(hole.shape, np.uint8)
    inside[radius:-radius, radius:-radius] = 1
    touching = (cv2.dilate(target.astype(np.uint8), patch, borderValue=0) * inside).astype(bool)
    source = cv2.erode(inside * ~hole, patch, borderValue=0)
    rows, columns = np.nonzero(touching)
    flat, even = rows * hole.shape[1] + columns, (rows + columns) % 2 == 0
    return np.concatenate([flat[even], flat[~even]]).astype(np.int32), int(even.sum()), source.astype(np.uint8)

"""The windows of known pixels around each hole that texture is taken from; their size bounds the memory."""

import numpy as np
from numpy.typing import NDArray

from lama.windows import Around, Piece, Window, hole_pieces

_LEAST_MARGIN = 128  # pixels
_MOST = 6_000_000  # pixels of a window, unless the hole's own box and the least margin are larger
_MOST_AT_ONCE = 12_000_000  # pixels of a hole's box: a larger one is cut in two


def texture_pieces(hole: NDArray[np.bool_]) -> list[Piece]:
    """The windows of a hole (H, W): holes that are near to each other share one, largest windows first.

    A window reaches beyond its hole by the hole's longer side and at least 128 pixels, and by less where it would have
    more than six million pixels. A hole whose own box has more than twelve million, such as specks all over a large
    photograph, is cut into parts, which are filled one after the other.
    """
    around = _context(*hole.shape)
    found = []
    for piece in hole_pieces(hole, around):
        rows, columns = np.nonzero(piece.take)
        found += _parts(rows + piece.window.top, columns + piece.window.left, around)
    return sorted(found, key=lambda piece: -piece.window.area)


def _parts(rows: NDArray[np.intp], columns: NDArray[np.intp], around: Around) -> list[Piece]:
    """The pixels of one hole with their window; several parts if their box is very large."""
    box = Window(int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
    if box.area > _MOST_AT_ONCE:
        along = rows if box.height >= box.width else columns
        before = along < (along.min() + along.max() + 1) // 2
        return [part for half in (before, ~before) for part in _parts(rows[half], columns[half], around)]
    window = around(box)
    take = np.zeros((window.height, window.width), bool)
    take[rows - window.top, columns - window.left] = True
    return [Piece(window, take)]


def _context(height: int, width: int) -> Around:
    """How far a window reaches beyond its hole, within an image of this size."""

    def around(box: Window) -> Window:
        margin = max(_LEAST_MARGIN, box.height, box.width)
        while True:
            grown = Window(
                max(box.top - margin, 0), min(box.bottom + margin, height),
                max(box.left - margin, 0), min(box.right + margin, width),
            )  # fmt: skip
            if grown.area <= _MOST or margin <= _LEAST_MARGIN:
                return grown
            margin = max(margin * 3 // 4, _LEAST_MARGIN)

    return around

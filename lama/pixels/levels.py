"""The one rule for masks: the brightness of each pixel, with its alpha; pixels that are nearly black."""

import numpy as np
from numpy.typing import NDArray

from lama.pixels.plain import Pixels

LARGE = 0.8  # share of an image; a larger hole suggests a mask of the opposite polarity
FAINT = 0.125  # brightness below which a pixel is no stroke
MANY_FAINT, MOST_FAINT = 0.01, 0.2  # shares, of the image and of the hole, of such pixels that are reported


def has_specks(levels: Pixels, hole: NDArray[np.bool_], top: float) -> bool:
    """Whether many pixels (H, W) of a hole are nearly black, as from JPEG; ``top`` is the level of white.

    A mask without bright pixels, such as one of the values 0 and 1, has none.
    """
    faint = np.count_nonzero(hole & (levels < FAINT * top))
    many = faint > min(MANY_FAINT * hole.size, MOST_FAINT * np.count_nonzero(hole))
    return bool(many and levels.max(initial=0) > top / 2)


def visible_levels(pixels: Pixels, alpha: Pixels | None) -> Pixels:
    """The brightness (H, W) of a mask, (H, W) or (H, W, 3), with its alpha (H, W): ``channel="auto"``."""
    colour = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    if alpha is None or alpha.min() == alpha.max():
        return colour
    if (pixels == pixels[0, 0]).all():
        return alpha
    top = np.iinfo(colour.dtype).max
    visible = (colour.astype(np.uint32) * alpha + top - 1) // top  # rounded up: a faint pixel is not black
    return visible.astype(colour.dtype)

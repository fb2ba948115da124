"""Pixels that the network must not see because of their colour."""

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from lama.pixels.levels import LARGE
from lama.pixels.plain import Pixels

NEARLY_ALL = f"ignore covers more than {LARGE:.0%} of the image, so the network sees little; is it inverted?"


def colour_of(name: str) -> tuple[int, int, int]:
    """(R, G, B), 0 to 255, of a colour of CSS: ``black``, ``#00ff00``, ``rgb(0, 255, 0)``. Raises ValueError."""
    try:
        red, green, blue, *alpha = ImageColor.getrgb(name)
    except ValueError:
        raise ValueError(f"ignore={name}: no colour") from None
    if alpha:
        raise ValueError(f"ignore={name}: expected a colour without alpha")
    return red, green, blue


def of_colour(pixels: Pixels, name: str) -> NDArray[np.bool_]:
    """The pixels (H, W) that have exactly the colour ``name`` in ``pixels``, (H, W) or (H, W, 1 or 3).

    ``pixels`` are uint8, uint16 (257 times the colour) or float in [0, 1] (within a 16-bit step of the colour).
    """
    wanted = np.array(colour_of(name))
    each = pixels[..., None] if pixels.ndim == 2 else pixels
    if each.dtype.kind == "f":
        return np.asarray((np.abs(each - wanted / 255) < 0.5 / 65535).all(axis=2))
    return np.asarray((each == wanted * (np.iinfo(each.dtype).max // 255)).all(axis=2))

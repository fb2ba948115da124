"""Pixels that the network must not see: the white pixels of a file, or all pixels of one colour."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ImageColor

from lama.interfaces import MaskArray
from lama.pictures.masks import LARGE, MaskReader
from lama.pictures.reading import ImageFile, Pixels

logger = logging.getLogger(__name__)
NEARLY_ALL = f"ignore covers more than {LARGE:.0%} of the image, so the network sees little; is it inverted?"


@dataclass(frozen=True)
class Ignored:
    """A mask file that marks pixels in white, or the colour of these pixels (``colour_of``).

    ``resize``: scale a file of another size. Raises FileNotFoundError if ``value`` is neither a file nor a colour.
    """

    value: str
    resize: bool = False

    def __post_init__(self) -> None:
        if not self._path.is_file():
            try:
                colour_of(self.value)
            except ValueError as error:
                expected = (
                    "expected a mask, white where the network must not see, or a colour such as black or '#00ff00'"
                )
                raise FileNotFoundError(f"{error}, and no such file; {expected}") from None

    @property
    def _path(self) -> Path:
        return Path(self.value).expanduser()

    def of(self, image: ImageFile, name: str) -> MaskArray:
        """The marked pixels (H, W) of ``image``, which messages call ``name``. Raises as ``MaskReader``."""
        if not self._path.is_file():
            found = of_colour(image.pixels, self.value)
            if not found.any():
                logger.warning("ignore=%s: no pixel of %s has this colour", self.value, name)
            return found
        return MaskReader(resize=self.resize, key="ignore").read(self._path, image, name)[0]


def colour_of(name: str) -> tuple[int, int, int]:
    """(R, G, B), 0 to 255, of a colour of CSS: ``black``, ``#00ff00``, ``rgb(0, 255, 0)``. Raises ValueError."""
    try:
        red, green, blue, *alpha = ImageColor.getrgb(name)
    except ValueError:
        raise ValueError(f"ignore={name}: no colour") from None
    if alpha:
        raise ValueError(f"ignore={name}: expected a colour without alpha")
    return red, green, blue


def of_colour(pixels: Pixels, name: str) -> MaskArray:
    """The pixels (H, W) that have exactly the colour ``name`` in ``pixels``, (H, W) or (H, W, 1 or 3).

    ``pixels`` are uint8, uint16 (257 times the colour) or float in [0, 1] (within a 16-bit step of the colour).
    """
    wanted = np.array(colour_of(name))
    each = pixels[..., None] if pixels.ndim == 2 else pixels
    if each.dtype.kind == "f":
        return np.asarray((np.abs(each - wanted / 255) < 0.5 / 65535).all(axis=2))
    return np.asarray((each == wanted * (np.iinfo(each.dtype).max // 255)).all(axis=2))

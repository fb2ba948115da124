"""Pixels that the network must not see: the white pixels of a file, or all pixels of one colour."""

import logging
from dataclasses import dataclass
from pathlib import Path

from lama.interfaces import MaskArray
from lama.pictures.masks import MaskReader
from lama.pictures.reading import ImageFile
from lama.pixels.colours import colour_of, of_colour

logger = logging.getLogger(__name__)


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

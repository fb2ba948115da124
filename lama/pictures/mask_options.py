"""How the mask of an image to be filled is read: its channel, what counts as white, polarity, growth, size."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from lama.interfaces import MaskArray
from lama.pictures.reading import ImageFile, Pixels, read_image_file

MOST = 0.8  # share of an image; a hole that is larger is probably what should stay
FAINT, MOST_FAINT = 0.125, 0.01  # darker than this is no stroke; share of a mask


class MaskReader:
    """The hole of an image, bool (H, W): every pixel of its mask brighter than ``threshold``, after ``invert``.

    A pixel is as bright as its brightest colour channel. Where alpha varies (``channel=auto``): with one colour all
    over, alpha is the mask and opaque = white; with several, a pixel counts as far as it is opaque, so that strokes
    on a transparent layer are the hole. ``colour`` ignores alpha, ``alpha`` ignores colour.
    Raises ValueError for options out of range.
    """

    def __init__(
        self,
        invert: bool = False,  # black = hole
        threshold: int = 0,  # of 255; 0 = every pixel that is not black, as officially
        dilate: int = 0,  # pixels of the image by which the hole grows in every direction
        resize: bool = False,  # stretch a mask of another size to its image, nearest pixel
        channel: Literal["auto", "colour", "alpha"] = "auto",
    ) -> None:
        if not 0 <= threshold < 255:
            raise ValueError(f"mask.threshold={threshold}: expected 0 to 254")
        if dilate < 0:
            raise ValueError(f"mask.dilate={dilate}: expected 0 or more pixels")
        self.invert = invert
        self.threshold = threshold
        self.dilate = dilate
        self.resize = resize
        self.channel = channel

    def read(
        self, path: Path, image: ImageFile, name: str, content: bytes | None = None
    ) -> tuple[MaskArray, list[str]]:
        """The hole of ``image``, called ``name`` in errors, and remarks on what it probably should not be.

        Where ``content``, the bytes of a file, is given, ``path`` is but what errors call the mask. Raises
        FileNotFoundError, or ValueError where the mask cannot be read or has another size.
        """
        levels = self.levels(path, content)
        top = np.iinfo(levels.dtype).max
        if self.invert:
            levels = top - levels
        hole = levels > self.threshold * (top // 255)
        faint = hole & (levels < FAINT * top) if levels.max(initial=0) > top // 2 else np.zeros(1, np.bool_)  # 0 and 1
        if hole.shape[::-1] != image.size:
            hole = self._resized(hole, path, image, name)
        hole = _dilated(hole, self.dilate) if self.dilate else hole
        return hole, self._remarks(float(hole.mean()), float(faint.mean()))

    def _remarks(self, area: float, faint: float) -> list[str]:
        names = ("opaque", "transparent") if self.channel == "alpha" else ("white", "black")
        shade, other = reversed(names) if self.invert else names
        remarks = []
        if area > MOST:
            opposite = f"mask.invert={str(not self.invert).lower()} removes {other}"
            remarks.append(f"its mask removes more than {MOST:.0%} of it; {shade} is removed, and {opposite}")
        if faint > MOST_FAINT:
            remarks.append(
                f"its mask has many pixels that are nearly {other}, as JPEG and soft brushes leave them, and they "
                "are removed too; mask.threshold=127 spares them"
            )
        if area == 0:
            remarks.append("its mask removes nothing, and the image is written as it is")
        return remarks

    def levels(self, path: Path, content: bytes | None = None) -> Pixels:
        """Brightness (H, W), uint8 or uint16, black to white."""
        mask = read_image_file(path, content)
        colour = mask.pixels if mask.pixels.ndim == 2 else mask.pixels.max(axis=2)
        alpha = mask.alpha
        if self.channel == "alpha" and alpha is None:
            raise ValueError(f"{path}: mask.channel=alpha, but this mask has no alpha channel")
        if alpha is None or self.channel == "colour" or (self.channel == "auto" and alpha.min() == alpha.max()):
            return colour
        if self.channel == "alpha" or (mask.pixels == mask.pixels[0, 0]).all():
            return alpha
        top = np.iinfo(colour.dtype).max
        seen = (colour.astype(np.uint32) * alpha + top - 1) // top  # rounded up: what can be seen at all is not black
        return seen.astype(colour.dtype)

    def _resized(self, hole: MaskArray, path: Path, image: ImageFile, name: str) -> MaskArray:
        if self.resize:
            return np.asarray(Image.fromarray(hole).resize(image.size, Image.Resampling.NEAREST))
        (height, width), (image_width, image_height) = hole.shape, image.size
        hint = "mask.resize=true stretches it"
        if (height, width) == image.size:
            lying = "the mask fits the image before its EXIF orientation turned it"
            hint = lying if image.turned else "the mask lies on its side; turn it by 90 degrees"
        raise ValueError(
            f"{path}: mask is {width} x {height}, but its image {name} is {image_width} x {image_height} pixels; {hint}"
        )


def _dilated(hole: MaskArray, pixels: int) -> MaskArray:
    """Everything at most ``pixels`` away from the hole, a disc around each of its pixels."""
    if not hole.any():
        return hole
    known = np.logical_not(hole).astype(np.uint8)
    return cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= pixels

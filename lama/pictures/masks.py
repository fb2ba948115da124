"""The one reader of mask files, for prediction, evaluation, training, the data check and the page."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from lama.interfaces import ImageArray, MaskArray
from lama.pictures.reading import ImageFile, read_image_file
from lama.pixels.levels import LARGE, has_specks, visible_levels
from lama.pixels.plain import Pixels


class MaskReader:
    """Reads a mask file as bool (H, W), True = hole: every pixel brighter than ``threshold``, after ``invert``.

    The brightness of a pixel is its largest colour value. With ``channel="auto"``, alpha counts where it
    varies. If all pixels have one colour, alpha is the mask (opaque = white). Otherwise brightness is multiplied by
    alpha: strokes on a transparent layer are the hole. ``"colour"`` ignores alpha, ``"alpha"`` ignores colour.
    Raises ValueError for an option out of range.
    """

    def __init__(
        self,
        invert: bool = False,  # True: black = hole
        threshold: int = 0,  # 0..254 on a scale of 0..255; 0: every pixel that is not black, as in the official code
        dilate: int = 0,  # pixels of the image by which the hole grows in every direction
        resize: bool = False,  # True: scale a mask of another size to its image (nearest pixel)
        channel: Literal["auto", "colour", "alpha"] = "auto",
        key: str = "mask",  # the setting that messages name: KEY.invert
    ) -> None:
        if not 0 <= threshold < 255:
            raise ValueError(f"{key}.threshold={threshold}: expected 0 to 254")
        if dilate < 0:
            raise ValueError(f"{key}.dilate={dilate}: expected 0 or more pixels")
        self.key = key
        self.invert = invert
        self.threshold = threshold
        self.dilate = dilate
        self.resize = resize
        self.channel = channel

    def options(self) -> dict[str, object]:
        """The options that are not at their defaults: they decide which pixels are the hole."""
        defaults = vars(MaskReader(key=self.key))
        return {name: value for name, value in vars(self).items() if value != defaults[name]}

    def hole(self, path: Path, content: bytes | None = None) -> tuple[MaskArray, list[str]]:
        """The hole, bool (H, W) at the size of the mask, grown by ``dilate``, and warnings about it.

        If ``content`` (the bytes of the file) is given, ``path`` is only its name in messages. Raises FileNotFoundError
        if the file is missing, ValueError if it cannot be read.
        """
        hole, faint = self._threshold(path, content)
        return self._grown(hole, faint)

    def read(
        self, path: Path, image: ImageFile, name: str, content: bytes | None = None
    ) -> tuple[MaskArray, list[str]]:
        """The hole at the size of ``image``, which messages call ``name``, and warnings about it.

        Raises as ``hole`` does, and ValueError if the sizes differ and ``resize`` is off.
        """
        hole, faint = self._threshold(path, content)
        if hole.shape[::-1] != image.size:
            hole = self._resized(hole, path, image, name)
        return self._grown(hole, faint)

    def _threshold(self, path: Path, content: bytes | None) -> tuple[MaskArray, bool]:
        """(hole, whether many of its pixels are nearly black)."""
        levels = self._levels(path, content)
        top = np.iinfo(levels.dtype).max
        if self.invert:
            levels = top - levels
        hole = levels > self.threshold * (top // 255)
        return hole, has_specks(levels, hole, top)

    def _levels(self, path: Path, content: bytes | None) -> Pixels:
        """Brightness (H, W), uint8 or uint16, from black to white."""
        mask = read_image_file(path, content)
        alpha = mask.alpha
        if self.channel == "alpha" and alpha is None:
            raise ValueError(f"{path}: {self.key}.channel=alpha, but this mask has no alpha channel")
        if self.channel == "alpha" and alpha is not None:
            return alpha
        return visible_levels(mask.pixels, None if self.channel == "colour" else alpha)

    def _resized(self, hole: MaskArray, path: Path, image: ImageFile, name: str) -> MaskArray:
        if self.resize:
            return np.asarray(Image.fromarray(hole).resize(image.size, Image.Resampling.NEAREST))
        (height, width), (image_width, image_height) = hole.shape, image.size
        this = "ignore" if self.key == "ignore" else "mask"
        hint = "mask.resize=true scales it"
        if (height, width) == image.size:
            before = f"{this} has the size of the image before its EXIF orientation is applied"
            hint = before if image.turned else f"rotate {this} by 90 degrees"
        whose = "its image" if name == "image" else f"its image {name}"
        sizes = f"{this} is {width} x {height}, but {whose} is {image_width} x {image_height} pixels"
        raise ValueError(f"{path}: {sizes}; {hint}")

    def _grown(self, hole: MaskArray, faint: bool) -> tuple[MaskArray, list[str]]:
        hole = _dilated(hole, self.dilate) if self.dilate else hole
        return hole, self._warnings(float(hole.mean()), faint)

    def _warnings(self, area: float, faint: bool) -> list[str]:
        names = ("opaque", "transparent") if self.channel == "alpha" else ("white", "black")
        shade, other = reversed(names) if self.invert else names
        warnings = []
        if area > LARGE:
            opposite = f"{self.key}.invert={str(not self.invert).lower()} removes {other}"
            warnings.append(f"the mask removes more than {LARGE:.0%} of the image; {shade} is removed, and {opposite}")
        if faint:
            many = f"the mask has many pixels that are nearly {other}, as from JPEG or a soft brush"
            warnings.append(f"{many}; they are removed too; {self.key}.threshold=127 keeps them")
        if area == 0:
            warnings.append("the mask removes nothing; the image stays as it is")
        return warnings


def notices_about(reader: MaskReader, files: Sequence[Path]) -> list[str]:
    """One line for each kind of warning of ``reader`` about ``files``; files that cannot be read are left out."""
    found: dict[str, list[Path]] = {}
    for file in files:
        with contextlib.suppress(ValueError, OSError):
            for warning in reader.hole(file)[1]:
                found.setdefault(warning, []).append(file)
    return [f"{len(names)} of {len(files)} masks, first {names[0]}: {warning}" for warning, names in found.items()]


def read_mask(path: str | Path) -> MaskArray:
    """A mask file as bool (H, W), True = hole, with the default options of ``MaskReader``; raises as its ``hole``."""
    return MaskReader().hole(Path(path))[0]


def check_size(mask: MaskArray, image: ImageArray, name: str, image_name: str = "its image") -> None:
    """Raise ValueError unless ``mask`` (H, W) and ``image`` (H, W, 3) have the same size."""
    if mask.shape != image.shape[:2]:
        (h, w), (ih, iw) = mask.shape, image.shape[:2]
        raise ValueError(f"{name}: mask is {w} x {h}, but {image_name} is {iw} x {ih} pixels")


def _dilated(hole: MaskArray, pixels: int) -> MaskArray:
    """All pixels within a distance of ``pixels`` of the hole: each of its pixels grows to a disc."""
    if not hole.any():
        return hole
    known = np.logical_not(hole).astype(np.uint8)
    return cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= pixels

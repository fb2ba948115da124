"""Images of every kind as three channels and a hole, and the result in the kind of the input."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lama.pixels.colours import NEARLY_ALL, of_colour
from lama.pixels.levels import LARGE, has_specks, visible_levels
from lama.pixels.plain import DIM, plain_pixels
from lama.windows import Piece

logger = logging.getLogger(__name__)

Array = NDArray[Any]
_KINDS = "an array of uint8, uint16 or float, or a PIL image"
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow has it


@dataclass(frozen=True)
class OpenedImage:
    """The pixels and the hole of an image, and the function that restores its kind."""

    pixels: Array  # (H, W, 3), uint8, uint16 or float in [0, 1]; may be a read-only view
    hole: NDArray[np.bool_]  # (H, W)
    restore: Callable[[Array], Any]  # filled pixels, as ``pixels`` -> an image of the caller's kind
    ignored: NDArray[np.bool_] | None = None  # (H, W), pixels that the network must not see; None: it sees all

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """(H, W): what the network does not see, the hole and the ignored pixels."""
        return self.hole if self.ignored is None else self.hole | self.ignored

    def with_ignored(self, piece: Piece) -> NDArray[np.bool_]:
        """The pixels that a piece writes, and the ignored ones in its window, which later steps would see."""
        return piece.take if self.ignored is None else piece.take | self.ignored[piece.window.slices]


def open_image(
    image: Array | Image.Image, mask: Array | Image.Image, ignore: Array | Image.Image | str | None = None
) -> OpenedImage:
    """The pixels and the hole of an image, with the way back to its kind and its alpha.

    The network must not see pixels where ``ignore`` is above 0, or of the colour that it names, nor transparent ones;
    ``ignored`` holds both.

    Ignored pixels have the mean colour of the known ones in ``pixels``, so that no result depends on what they hold.
    If nothing else is known, none are ignored. Raises ValueError, in one line, for an unsupported image or mask, and
    for sizes that differ.
    """
    if isinstance(image, Image.Image):
        return _open_pil(image, mask, ignore)
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image: expected {_KINDS}, got {_what(image)}")
    if image.dtype.kind != "f" and not (image.dtype.kind == "u" and image.dtype.itemsize <= 2):
        raise ValueError(f"image: expected {_KINDS}, got an array of {image.dtype}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"image: expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {image.shape}")
    if 0 in image.shape:
        raise ValueError(f"image: expected at least one pixel, got shape {image.shape}")
    hole = _open_mask(mask, image.shape[:2])
    ignored = None if ignore is None else _open_ignore(ignore, image)
    if image.ndim == 2 or image.shape[2] == 1:
        grey = image.reshape(*image.shape[:2], 1)
        _check_range(grey)
        pixels = np.broadcast_to(grey, (*grey.shape[:2], 3))

        def restore_grey(filled: Array) -> Array:
            return _in_type_of(image, np.where(hole, _grey(filled), grey[..., 0]).reshape(image.shape))

        return _finished(OpenedImage(pixels, hole, restore_grey), ignored)
    pixels = image[..., :3]
    _check_range(pixels)
    if image.shape[2] == 3:
        return _finished(OpenedImage(pixels, hole, lambda filled: filled), ignored)
    transparent = image[..., 3] == 0
    return _finished(
        OpenedImage(pixels, hole, lambda filled: _in_type_of(image, np.concatenate([filled, image[..., 3:]], axis=2))),
        transparent if ignored is None else ignored | transparent,
    )


def _finished(opened: OpenedImage, ignored: NDArray[np.bool_] | None) -> OpenedImage:
    return _stretched(_without_ignored(opened, ignored))


def _stretched(opened: OpenedImage) -> OpenedImage:
    """A dim image, such as 12 bits stored in 16, over the whole range; its ``restore`` goes back to its own scale.

    The network was trained on photographs of the whole range, and cannot tell the few lowest values apart.
    """
    dtype = opened.pixels.dtype
    if dtype == np.uint8 or not opened.hole.any():
        return opened
    peak = opened.pixels.max(where=~opened.unknown[..., None], initial=0)
    if not 0 < peak < DIM * white(dtype):
        return opened
    factor = white(dtype) / float(peak) if dtype.kind == "f" else white(dtype) // int(peak)
    logger.info("image: its brightest pixel is %.3g of %d; the network sees it %d times brighter",
                peak, white(dtype), factor)  # fmt: skip
    kept = opened.pixels

    def restore(filled: Array) -> Any:
        original = _round(filled.astype(np.promote_types(dtype, np.float32)) / factor, dtype)
        return opened.restore(np.where(opened.hole[..., None], original, kept))

    stretched = (np.minimum(opened.pixels, peak) * factor).astype(dtype)
    return OpenedImage(stretched, opened.hole, restore, opened.ignored)


def _without_ignored(opened: OpenedImage, ignored: NDArray[np.bool_] | None) -> OpenedImage:
    """``opened`` with the colours of ``ignored`` replaced; its ``restore`` brings them back."""
    if ignored is None or not (ignored := ignored & ~opened.hole).any():
        return opened
    known = ~(opened.hole | ignored)
    if not known.any():  # the ignored pixels are all there is
        return opened
    pixels = opened.pixels.copy()
    pixels[ignored] = _round(pixels[known].mean(axis=0, dtype=np.float64), pixels.dtype)
    kept = opened.pixels

    def restore(filled: Array) -> Any:
        return opened.restore(np.where(opened.hole[..., None], filled, kept))

    return OpenedImage(pixels, opened.hole, restore, ignored)


def _open_pil(
    image: Image.Image, mask: Array | Image.Image, ignore: Array | Image.Image | str | None = None
) -> OpenedImage:
    if image.mode in ("I", "F", "LAB", "HSV"):
        advice = "pass an array of uint16, or of float in [0, 1], or convert it to RGB or L"
        raise ValueError(f"image: images of mode {image.mode} cannot be filled; {advice}")
    info = {key: value for key, value in image.info.items() if key != "transparency"}
    alpha = None
    if image.mode.startswith("I;16"):
        array = np.asarray(image).astype(np.uint16)
    else:
        if image.mode == "CMYK":
            info.pop("icc_profile", None)  # it does not describe the RGB result
        grey = image.mode in ("1", "L", "LA", "La")
        if "A" in image.getbands() or image.mode.endswith("a") or "transparency" in image.info:
            image = image.convert("LA" if grey else "RGBA")
            alpha = image.getchannel("A")
        array = np.asarray(image.convert("L" if grey else "RGB"))
    size = mask.size if isinstance(mask, Image.Image) else np.shape(mask)[1::-1]
    if size == image.size[::-1] != image.size and image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
        raise ValueError("image: lies on its side by its EXIF orientation, and the mask does not; turn it by "
                         "PIL.ImageOps.exif_transpose(image) first")  # fmt: skip
    if alpha is None:
        opened = open_image(array, mask, ignore)
    else:
        hidden = np.asarray(alpha) == 0
        others = hidden if ignore is None else _open_ignore(ignore, array)
        opened = open_image(array, mask, hidden | others)

    def restore(filled: Array) -> Image.Image:
        result = Image.fromarray(opened.restore(filled))
        if alpha is not None:
            result.putalpha(alpha)
        result.info |= info
        return result

    return OpenedImage(opened.pixels, opened.hole, restore, opened.ignored)


def _in_type_of(image: Array, result: Array) -> Array:
    """``result`` in the byte order of ``image``; NumPy's functions return the machine's."""
    return result.astype(image.dtype, copy=False)


def _check_range(pixels: Array) -> None:
    """Float pixels are in [0, 1], every one."""
    if pixels.dtype.kind != "f":
        return
    low, high = pixels.min(), pixels.max()
    if np.isnan(low) or np.isnan(high):
        raise ValueError("image: holds NaN; expected floats in [0, 1]")
    if low < 0 or high > 1:
        raise ValueError(f"image: expected floats in [0, 1], got values from {low:g} to {high:g}")


def _what(value: object) -> str:
    """A value that is no image, in words."""
    path = isinstance(value, (str, Path))
    return f"the path {value}; open it, PIL.Image.open(path)" if path else type(value).__name__


def _open_mask(mask: Array | Image.Image, size: tuple[int, ...], name: str = "mask") -> NDArray[np.bool_]:
    """bool (H, W), True = hole; messages call it ``name``."""
    array = _mask_array(mask) if isinstance(mask, Image.Image) else np.asarray(mask)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name}: expected an array of numbers or a PIL image, got {_what(mask)}")
    if array.ndim == 3 and array.shape[2] in (1, 3):
        array = array.max(axis=2)
    if array.shape != size:
        raise ValueError(f"{name}: expected shape {size} as the image, got {array.shape}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(f"{name}: holds NaN; expected 0 where the image is known, more in the hole")
    hole = np.asarray(array > 0)
    if array.dtype != np.bool_ and name == "mask":  # bool is meant as it is
        _warn_about(array, hole)
    return hole


def _open_ignore(ignore: Array | Image.Image | str, image: Array) -> NDArray[np.bool_]:
    """bool (H, W), True = hidden from the network: above 0 in a mask, or of a colour in ``image``, (H, W[, C])."""
    if isinstance(ignore, str):
        _check_range(image)
        ignored = of_colour(image[..., :3] if image.ndim == 3 else image, ignore)
    else:
        ignored = _open_mask(ignore, image.shape[:2], "ignore")
    if ignored.mean() > LARGE:
        logger.warning(NEARLY_ALL)
    return ignored


def _warn_about(levels: Array, hole: NDArray[np.bool_]) -> None:
    """The warnings of ``MaskReader``, in terms of arrays."""
    area = float(hole.mean())
    if area > LARGE:
        logger.warning("mask: it removes more than %.0f%% of the image; values above 0 are removed", 100 * LARGE)
    if area == 0:
        logger.warning("mask: it removes nothing; the image is returned unchanged")
    top = 255 if levels.dtype == np.uint8 else float(levels.max(initial=0))
    if has_specks(levels, hole, top):
        logger.warning("mask: many values are nearly 0, as from JPEG; they are removed too; np.asarray(mask) > 127 "
                       "keeps them")  # fmt: skip


def _mask_array(mask: Image.Image) -> Array:
    """(H, W), above 0 in the hole, by the rule of ``lama.pictures.MaskReader``."""
    if mask.mode == "F" or mask.mode.startswith("I"):
        return np.asarray(mask)
    if mask.mode == "1" and "transparency" not in mask.info:
        return np.asarray(mask)
    return visible_levels(*plain_pixels("mask", mask))


def _grey(pixels: Array) -> Array:
    """(H, W, 3) -> (H, W), the luminance, in the same type."""
    grey = pixels.astype(np.promote_types(pixels.dtype, np.float32)) @ _LUMINANCE
    return _round(grey, pixels.dtype)


def _round(values: Array, dtype: np.dtype[Any]) -> Array:
    return values.astype(dtype) if dtype.kind == "f" else np.rint(values).astype(dtype)


def white(dtype: np.dtype[Any]) -> int:
    """The value of white: 255, 65535, or 1 for floats."""
    return 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)


def to_kind(values: Array, dtype: np.dtype[Any]) -> Array:
    """Predicted values, float in about [0, 1] -> the same in the image's type: clipped, scaled, rounded."""
    return _round(values.clip(0, 1) * np.float32(white(dtype)), dtype)

"""Images of every kind as three channels and a hole, and the result in the kind of the input."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Array = NDArray[Any]
_KINDS = "an array of uint8, uint16 or float, or a PIL image"
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow has it


@dataclass(frozen=True)
class OpenedImage:
    """The pixels and the hole of an image, and the function that restores its kind."""

    pixels: Array  # (H, W, 3), uint8, uint16 or float in [0, 1]; may be a read-only view
    hole: NDArray[np.bool_]  # (H, W)
    restore: Callable[[Array], Any]  # filled pixels, as ``pixels`` -> an image of the caller's kind


def open_image(image: Array | Image.Image, mask: Array | Image.Image) -> OpenedImage:
    """Raises ValueError, in one line, for an unsupported image or mask, and for sizes that differ."""
    if isinstance(image, Image.Image):
        return _open_pil(image, mask)
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image: expected {_KINDS}, got {_what(image)}")
    if image.dtype.kind != "f" and not (image.dtype.kind == "u" and image.dtype.itemsize <= 2):
        raise ValueError(f"image: expected {_KINDS}, got an array of {image.dtype}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"image: expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {image.shape}")
    if 0 in image.shape:
        raise ValueError(f"image: expected at least one pixel, got shape {image.shape}")
    hole = _open_mask(mask, image.shape[:2])
    if image.ndim == 2 or image.shape[2] == 1:
        grey = image.reshape(*image.shape[:2], 1)
        _check_range(grey)
        pixels = np.broadcast_to(grey, (*grey.shape[:2], 3))

        def restore_grey(filled: Array) -> Array:
            return _in_type_of(image, np.where(hole, _grey(filled), grey[..., 0]).reshape(image.shape))

        return OpenedImage(pixels, hole, restore_grey)
    pixels = image[..., :3]
    _check_range(pixels)
    if image.shape[2] == 3:
        return OpenedImage(pixels, hole, lambda filled: filled)
    return OpenedImage(
        pixels, hole, lambda filled: _in_type_of(image, np.concatenate([filled, image[..., 3:]], axis=2))
    )


def _open_pil(image: Image.Image, mask: Array | Image.Image) -> OpenedImage:
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
    opened = open_image(array, mask)

    def restore(filled: Array) -> Image.Image:
        result = Image.fromarray(opened.restore(filled))
        if alpha is not None:
            result.putalpha(alpha)
        result.info |= info
        return result

    return OpenedImage(opened.pixels, opened.hole, restore)


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


def _open_mask(mask: Array | Image.Image, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool (H, W), True = hole."""
    array = _mask_array(mask) if isinstance(mask, Image.Image) else np.asarray(mask)
    if array.dtype.kind not in "buif":
        raise ValueError(f"mask: expected an array of numbers or a PIL image, got {_what(mask)}")
    if array.ndim == 3 and array.shape[2] in (1, 3):
        array = array.max(axis=2)
    if array.shape != size:
        raise ValueError(f"mask: expected shape {size}, that of the image, got {array.shape}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError("mask: holds NaN; expected 0 where the image is known, more in the hole")
    return np.asarray(array > 0)


def _mask_array(mask: Image.Image) -> Array:
    """(H, W), above 0 if any colour channel is; alpha is ignored."""
    if mask.mode in ("1", "L", "F") or mask.mode.startswith("I"):
        return np.asarray(mask)
    return np.asarray(mask.convert("RGB")).max(axis=2)


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


def network_input(pixels: Array, hole: NDArray[np.bool_]) -> Tensor:
    """(H, W, 3) of an image's type and (H, W) -> float32 (1, 4, H, W): masked RGB in [0, 1] and the mask.

    Written in place: for a large image, intermediate copies would take too much memory.
    """
    x = torch.empty(1, 4, *hole.shape)
    native = pixels.astype(pixels.dtype.newbyteorder("="), order="C", copy=True)  # torch wants it writable, not a view
    mask = torch.from_numpy(np.ascontiguousarray(hole))
    x[0, :3].copy_(torch.from_numpy(native).permute(2, 0, 1)).div_(white(pixels.dtype)).masked_fill_(mask, 0)
    x[0, 3].copy_(mask)
    return x

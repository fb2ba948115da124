"""The pixels of a Pillow image of 8 bits: colours and alpha."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[Any]  # uint8 or uint16, (H, W) grey or (H, W, 3) RGB
DIM = 1 / 16  # of the range; a 16-bit image without a brighter pixel has 12 bits or fewer


def plain_pixels(path: str | Path, image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """The colours, (H, W) or (H, W, 3), and the alpha (H, W) of a PIL image of 8 bits, which messages call ``path``.

    Raises ValueError for 32 bits per channel and for LAB.
    """
    return split_alpha(np.asarray(_to_plain_mode(path, image)))


def _to_plain_mode(path: str | Path, image: Image.Image) -> Image.Image:
    """Convert to L, LA, RGB or RGBA."""
    transparent = "transparency" in image.info or image.mode in ("PA", "RGBa", "La")
    if image.mode == "CMYK":
        return _cmyk_to_srgb(image)
    if image.mode.startswith(("I", "F", "LAB")):
        expected = "expected grey or RGB of 8 or 16 bits; convert the image"
        raise ValueError(f"{path}: mode {image.mode} is not supported, {expected}")
    grey = image.mode in ("1", "L", "LA", "La")
    alpha = transparent or "A" in image.getbands()
    return image.convert(("LA" if grey else "RGBA") if alpha else ("L" if grey else "RGB"))


def _cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """Convert with the colour profile of the image; with Pillow's formula if it has none or a broken one."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")


def split_alpha(array: Pixels) -> tuple[Pixels, Pixels | None]:
    """(H, W) or (H, W, 1 to 4) -> colours (H, W) or (H, W, 3), alpha (H, W)."""
    if array.ndim == 2:
        return array, None
    has_alpha = array.shape[2] in (2, 4)
    colours = array[..., :-1] if has_alpha else array
    colours = colours[..., 0] if colours.shape[2] == 1 else colours
    return np.ascontiguousarray(colours), np.ascontiguousarray(array[..., -1]) if has_alpha else None

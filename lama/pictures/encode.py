"""An image as the bytes of a file: PNG, TIFF and WebP keep most, JPEG and BMP less; docs/prediction.md says what."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

from lama.files import atomic_write
from lama.pictures.metadata import Metadata
from lama.pictures.reading import ImageFile, Pixels

JPEG = (".jpg", ".jpeg")
TIFF = (".tif", ".tiff")
KEEPS_16_BITS = (".png", *TIFF)
KEEPS_ALPHA = (".png", ".webp", *TIFF)


def is_lossy(suffix: str, quality: int) -> bool:
    """Whether a file of that suffix changes known pixels a little."""
    return suffix.lower() in JPEG or (suffix.lower() == ".webp" and quality < 100)


def losses(image: ImageFile, suffix: str) -> list[str]:
    """What of ``image`` the format behind ``suffix`` cannot hold, in words."""
    suffix = suffix.lower()
    lost = []
    if image.alpha is not None and suffix not in KEEPS_ALPHA:
        lost.append(f"{suffix} has no alpha: it is dropped")
    if image.pixels.dtype == np.uint16 and suffix not in KEEPS_16_BITS:
        lost.append(f"{suffix} has no 16 bits: 8 are kept")
    return lost


def write_image_file(path: str | Path, image: ImageFile, quality: int = 95) -> None:
    """Write an image in the format its suffix names, whole or not at all.

    ``quality`` is that of JPEG (at full colour resolution) and WebP (100 = lossless). Raises ValueError where the
    format cannot hold the image, OSError where the disk cannot.
    """
    path = Path(path).expanduser()
    try:
        content = encode(image, path.suffix, quality)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with atomic_write(path) as partial:
        partial.write_bytes(content)  # not Pillow: it does not say when the disk is full


def encode(image: ImageFile, suffix: str, quality: int = 95) -> bytes:
    """The content of the file that ``write_image_file`` writes."""
    suffix = suffix.lower()
    pixels = image.pixels
    alpha = image.alpha if suffix in KEEPS_ALPHA else None
    if pixels.dtype == np.uint16:
        if suffix not in KEEPS_16_BITS:
            pixels = (pixels >> 8).astype(np.uint8)
            alpha = None if alpha is None else (alpha >> 8).astype(np.uint8)
        elif pixels.ndim == 3 or alpha is not None:  # Pillow writes 16 bits of grey, but not of colour
            return _colour_16(pixels, alpha, suffix, image.metadata)
    return _encode_by_pillow(_join(pixels, alpha), suffix, image.metadata, quality)


def _encode_by_pillow(image: Image.Image, suffix: str, metadata: Metadata, quality: int) -> bytes:
    options: dict[str, Any] = metadata.options(suffix)
    if suffix in JPEG:
        options |= {"quality": quality, "subsampling": 0}
    if suffix == ".webp":
        options |= {"lossless": True} if quality == 100 else {"quality": quality}
        options["exact"] = True  # colours under transparent pixels
    file = io.BytesIO()
    try:
        image.save(file, Image.registered_extensions()[suffix], **options)
    except (ValueError, OSError, struct.error) as error:  # no disk takes part in it
        width, height = image.size
        raise ValueError(f"{suffix} cannot hold this image of {width} x {height} pixels ({error})") from error
    return file.getvalue()


def _join(pixels: Pixels, alpha: Pixels | None) -> Image.Image:
    colours = Image.fromarray(pixels)
    if alpha is not None:
        colours.putalpha(Image.fromarray(alpha))
    return colours


def _colour_16(pixels: Pixels, alpha: Pixels | None, suffix: str, metadata: Metadata) -> bytes:
    """16-bit RGB, or RGB with alpha, which grey with alpha becomes too."""
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    array = rgb if alpha is None else np.dstack([rgb, alpha])
    if suffix in TIFF:
        return _tiff_16(array, metadata)
    encoded, content = cv2.imencode(".png", array[..., [2, 1, 0, 3][: array.shape[2]]])
    if not encoded:
        raise ValueError(f".png cannot hold this image of {array.shape[1]} x {array.shape[0]} pixels")
    donor = _encode_by_pillow(Image.new("RGB", (1, 1)), ".png", metadata, 100)  # has the chunks of metadata
    extra = b"".join(chunk for name, chunk in _chunks(donor) if name not in (b"IHDR", b"IDAT", b"IEND"))
    start = 8 + 25  # signature and IHDR
    return content[:start].tobytes() + extra + content[start:].tobytes()


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, the whole chunk) of every chunk of a PNG."""
    position = 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big") + 12
        yield png[position + 4 : position + 8], png[position : position + length]
        position += length


def _tiff_16(array: Pixels, metadata: Metadata) -> bytes:
    """Of the metadata, colour profile and resolution."""
    options: dict[str, Any] = {}
    if metadata.dpi is not None:
        options |= {"resolution": metadata.dpi, "resolutionunit": "INCH"}
    if array.shape[2] == 4:
        options["extrasamples"] = ["unassalpha"]
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="rgb", iccprofile=metadata.icc, metadata=None, software="", **options)
    return file.getvalue()

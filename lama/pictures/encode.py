"""Encode an image as the bytes of a file; docs/prediction.md lists what each format keeps."""

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
from lama.pictures.metadata import JPEG, Metadata
from lama.pictures.reading import ImageFile
from lama.pixels.plain import Pixels

TIFF = (".tif", ".tiff")
KEEPS_16_BITS = (".png", *TIFF)
KEEPS_ALPHA = (".png", ".webp", *TIFF)


def is_lossy(suffix: str, quality: int) -> bool:
    """Whether the format changes known pixels slightly. ``quality`` is 1..100, and 100 makes WebP lossless."""
    return suffix.lower() in JPEG or (suffix.lower() == ".webp" and quality < 100)


def losses(image: ImageFile, suffix: str) -> list[str]:
    """One message for each property of ``image`` that the format of ``suffix`` cannot hold."""
    suffix = suffix.lower()
    lost = []
    if image.alpha is not None and suffix not in KEEPS_ALPHA:
        lost.append(f"{suffix} has no alpha channel; alpha is dropped")
    if image.pixels.dtype == np.uint16 and suffix not in KEEPS_16_BITS:
        lost.append(f"{suffix} has 8 bits per channel; the upper 8 of 16 bits are kept")
    return lost


def write_image_file(path: str | Path, image: ImageFile, quality: int = 95) -> None:
    """Write an image atomically, in the format of its suffix.

    ``quality``, 1..100, applies to JPEG (without chroma subsampling) and WebP (100 = lossless). Raises ValueError if
    the format cannot hold the image, OSError if the file cannot be written.
    """
    path = Path(path).expanduser()
    try:
        content = encode(image, path.suffix, quality)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with atomic_write(path) as partial:
        partial.write_bytes(content)  # not through Pillow, which reports no full disk


def encode(image: ImageFile, suffix: str, quality: int = 95) -> bytes:
    """The bytes that ``write_image_file`` writes."""
    suffix = suffix.lower()
    pixels = image.pixels
    alpha = image.alpha if suffix in KEEPS_ALPHA else None
    if pixels.dtype == np.uint16:
        if suffix not in KEEPS_16_BITS:
            pixels = (pixels >> 8).astype(np.uint8)
            alpha = None if alpha is None else (alpha >> 8).astype(np.uint8)
        elif pixels.ndim == 3 or alpha is not None:  # Pillow writes 16-bit grey, but no 16-bit colour
            return _colour_16(pixels, alpha, suffix, image.metadata)
    return _encode_by_pillow(_join(pixels, alpha), suffix, image.metadata, quality)


def _format(suffix: str) -> str:
    """Pillow's name of the format. Its usual formats are looked at first: all of them take a while to import."""
    Image.preinit()
    return Image.EXTENSION.get(suffix) or Image.registered_extensions()[suffix]


def _encode_by_pillow(image: Image.Image, suffix: str, metadata: Metadata, quality: int) -> bytes:
    options: dict[str, Any] = metadata.options(suffix)
    if suffix in JPEG:
        options |= {"quality": quality, "subsampling": 0}
    if suffix == ".webp":
        options |= {"lossless": True} if quality == 100 else {"quality": quality}
        options["exact"] = True  # keep colours under transparent pixels
    file = io.BytesIO()
    try:
        image.save(file, _format(suffix), **options)
    except (ValueError, OSError, struct.error) as error:  # OSError: the encoder failed, in memory
        width, height = image.size
        raise ValueError(f"{suffix} cannot hold this image of {width} x {height} pixels ({error})") from error
    return file.getvalue()


def _join(pixels: Pixels, alpha: Pixels | None) -> Image.Image:
    colours = Image.fromarray(pixels)
    if alpha is not None:
        colours.putalpha(Image.fromarray(alpha))
    return colours


def _colour_16(pixels: Pixels, alpha: Pixels | None, suffix: str, metadata: Metadata) -> bytes:
    """Encode 16-bit RGB or RGBA; grey with alpha becomes RGBA."""
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    array = rgb if alpha is None else np.dstack([rgb, alpha])
    if suffix in TIFF:
        return _tiff_16(array, metadata)
    encoded, content = cv2.imencode(".png", array[..., [2, 1, 0, 3][: array.shape[2]]])
    if not encoded:
        raise ValueError(f".png cannot hold this image of {array.shape[1]} x {array.shape[0]} pixels")
    donor = _encode_by_pillow(Image.new("RGB", (1, 1)), ".png", metadata, 100)  # its metadata chunks are copied
    extra = b"".join(chunk for name, chunk in _chunks(donor) if name not in (b"IHDR", b"IDAT", b"IEND"))
    start = 8 + 25  # signature and IHDR
    return content[:start].tobytes() + extra + content[start:].tobytes()


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, all bytes of the chunk) of every chunk of a PNG."""
    position = 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big") + 12
        yield png[position + 4 : position + 8], png[position : position + length]
        position += length


def _tiff_16(array: Pixels, metadata: Metadata) -> bytes:
    """Encode 16-bit RGB or RGBA as TIFF, with the colour profile and the resolution, without other metadata."""
    options: dict[str, Any] = {}
    if metadata.dpi is not None:
        options |= {"resolution": metadata.dpi, "resolutionunit": "INCH"}
    if array.shape[2] == 4:
        options["extrasamples"] = ["unassalpha"]
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="rgb", iccprofile=metadata.icc, metadata=None, software="", **options)
    return file.getvalue()

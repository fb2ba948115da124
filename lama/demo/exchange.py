"""Pictures as they come and go: bytes of a file in, bytes of a file out; nothing is written to a disk."""

import base64
import binascii
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from lama.data.encode import encode, is_lossy, losses
from lama.data.mask_options import MaskReader
from lama.data.pictures import Picture, read_picture
from lama.demo.refused import RefusedError
from lama.interfaces import MaskArray

SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".bmp": "image/bmp", ".tif": "image/tiff"}
OPENED = [name for name in SUFFIXES if name != "MPO"]  # which is a phone's JPEG: its reader finds out
FORMATS = ("same", *(suffix[1:] for suffix in TYPES))


@dataclass(frozen=True)
class Upload:
    """A picture that came in: decoded, and the suffix of its format."""

    picture: Picture
    suffix: str


def from_base64(text: str, what: str) -> bytes:
    """The bytes of a file in base64, line breaks or not, or of a ``data:`` address.

    Raises RefusedError where it is neither.
    """
    try:
        encoded = text.partition(",")[2] if text.startswith("data:") else text
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(422, f"{what}: expected the bytes of a file in base64, or a data: address") from None


def open_upload(content: bytes, what: str, max_megapixels: float) -> Upload:
    """Decode a picture that is not larger than allowed, which its header tells.

    ``what`` is what messages call it. Raises RefusedError: 413 where it is too large, 422 where it is no picture.
    """
    suffix = check(content, what, max_megapixels)
    try:
        return Upload(read_picture(what, content), suffix)
    except ValueError as error:
        raise RefusedError(422, str(error)) from None


def open_mask(
    content: bytes, picture: Picture, reader: MaskReader, max_megapixels: float
) -> tuple[MaskArray, list[str]]:
    """The hole of ``picture`` and remarks. Raises RefusedError where it is no mask of it."""
    check(content, "mask", max_megapixels)
    try:
        hole, remarks = reader.read(Path("mask"), picture, "image", content)
    except ValueError as error:
        raise RefusedError(422, in_our_words(str(error))) from None
    return hole, [in_our_words(remark) for remark in remarks]


def in_our_words(text: str) -> str:
    """The command line's ``mask.resize=true`` is the field ``resize`` here."""
    return re.sub(r"\bmask\.(?=[a-z]+=)", "", text)


def check(content: bytes, what: str, max_megapixels: float) -> str:
    """The suffix of a picture's format, from its header alone. Raises RefusedError as ``open_upload`` does."""
    try:
        with Image.open(io.BytesIO(content), formats=OPENED) as image:
            (width, height), suffix = image.size, SUFFIXES[str(image.format)]
    except Image.DecompressionBombError:
        raise RefusedError(413, f"{what}: far more than {max_megapixels:g} megapixels, the most allowed") from None
    except Exception:  # Pillow raises what it likes for files that are none
        kinds = ", ".join(sorted({suffix[1:] for suffix in SUFFIXES.values()}))
        raise RefusedError(422, f"{what}: not a readable picture; expected {kinds}") from None
    if width * height > max_megapixels * 1e6:
        raise RefusedError(413, f"{what}: {width} x {height} pixels are more than {max_megapixels:g} megapixels, the "
                                "most allowed")  # fmt: skip
    return suffix


def suffix_of(format: str, upload: Upload) -> str:
    """Where a result is asked for in ``format``. Raises RefusedError for an unknown one."""
    if format not in FORMATS:
        raise RefusedError(422, f"format: expected {', '.join(FORMATS)}, got {format!r}")
    return upload.suffix if format == "same" else f".{format}"


def written(picture: Picture, suffix: str, quality: int) -> tuple[bytes, list[str]]:
    """The bytes of a file, and what it cannot hold. Raises RefusedError where the format cannot hold the picture."""
    try:
        content = encode(picture, suffix, quality)
    except ValueError as error:
        raise RefusedError(422, str(error)) from None
    lossy = [f"{suffix[1:]} changes known pixels a little; png does not"] if is_lossy(suffix, quality) else []
    return content, losses(picture, suffix) + lossy


def like(picture: Picture, original: Picture) -> Picture:
    """``picture`` with the metadata of ``original``."""
    if picture.size != original.size:
        raise RefusedError(422, "like: expected a picture of the same size")
    return replace(picture, metadata=original.metadata)


def preview(picture: Picture, longest: int) -> bytes:
    """A PNG of 8 bits for a browser, upright, smaller where a side has more than ``longest`` pixels."""
    pixels = picture.pixels if picture.pixels.dtype == np.uint8 else (picture.pixels >> 8).astype(np.uint8)
    image = Image.fromarray(pixels)
    if max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.BOX, reducing_gap=2)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1, icc_profile=picture.metadata.icc)
    return file.getvalue()


def text(content: bytes) -> str:
    """base64, as it goes into JSON."""
    return base64.b64encode(content).decode("ascii")


def unique(lines: Sequence[str]) -> list[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(lines))

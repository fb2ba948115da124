"""Images in requests and answers, as bytes of files in memory; nothing is written to a disk."""

import base64
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from lama.interfaces import MaskArray
from lama.pictures.encode import encode, is_lossy, losses
from lama.pictures.images import open_header
from lama.pictures.masks import MaskReader
from lama.pictures.reading import ImageFile, read_image_file
from lama.serving.refused import RefusedError

SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
OPENED = [name for name in SUFFIXES if name != "MPO"]  # MPO files are read as JPEG
KINDS = [suffix[1:] for suffix in dict.fromkeys(SUFFIXES.values())]


@dataclass(frozen=True)
class Upload:
    """A decoded image of a request, and the suffix of its format."""

    image: ImageFile
    suffix: str


def from_base64(text: str, field: str) -> bytes:
    """Decode the bytes of a file from base64 or a ``data:`` URL. Raises ValueError, naming ``field``, for others."""
    try:
        encoded = text.partition(",")[2] if text.startswith("data:") else text
        return base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        raise ValueError(f"{field}: expected the bytes of a file in base64, or a data: URL") from None


def open_upload(content: bytes, field: str, max_megapixels: float) -> Upload:
    """Check the size of an image and decode it. Raises RefusedError if it is too large, ValueError for no image."""
    suffix = suffix_in_header(content, field, max_megapixels)
    return Upload(read_image_file(field, content), suffix)


def open_mask(
    content: bytes, image: ImageFile, reader: MaskReader, max_megapixels: float
) -> tuple[MaskArray, list[str]]:
    """The hole of ``image``, bool (H, W), and notes; ``reader.key`` names the field.

    Raises as ``open_upload``, and ValueError for another size.
    """
    suffix_in_header(content, reader.key, max_megapixels)
    hole, remarks = reader.read(Path(reader.key), image, "image", content)
    return hole, [in_our_words(remark) for remark in remarks]


def mask_alone(content: bytes, field: str) -> tuple[ImageFile, list[str]]:
    """The hole of a mask without its image, white on black, and warnings. Raises ValueError if it cannot be read."""
    hole, warnings = MaskReader().hole(Path(field), content)
    return ImageFile(hole.astype(np.uint8) * 255), [in_our_words(warning) for warning in warnings]


def in_our_words(text: str) -> str:
    """Replace keys of the command line, such as ``mask.resize=true``, by fields, such as ``resize=true``."""
    return re.sub(r"\bmask\.(?=[a-z]+=)", "", text)


def suffix_in_header(content: bytes, field: str, max_megapixels: float) -> str:
    """The suffix of the format, from the header alone. Raises as ``open_upload`` does."""
    try:
        with open_header(io.BytesIO(content), OPENED) as image:
            (width, height), suffix = image.size, SUFFIXES[str(image.format)]
    except Image.DecompressionBombError:
        raise RefusedError(413, f"{field}: far more than {max_megapixels:g} megapixels, the limit") from None
    except Exception:  # Pillow raises errors of many types
        raise ValueError(f"{field}: not a readable image; expected {', '.join(KINDS)}") from None
    if width * height > max_megapixels * 1e6:
        raise RefusedError(413, f"{field}: {width} x {height} pixels are more than {max_megapixels:g} megapixels, "
                                "the limit")  # fmt: skip
    return suffix


def suffix_of(format: str, upload: Upload) -> str:
    """The suffix for a result in ``format``. Raises ValueError for an unknown format."""
    if format not in ("same", *KINDS):
        raise ValueError(f"format: expected same, {', '.join(KINDS)}, got {format!r}")
    return upload.suffix if format == "same" else f".{format}"


def written(image: ImageFile, suffix: str, quality: int) -> tuple[bytes, list[str]]:
    """The bytes of a file, and notes on its losses. Raises ValueError if the format cannot hold the image."""
    lossy = [f"{suffix[1:]} changes known pixels slightly; png does not"] if is_lossy(suffix, quality) else []
    return encode(image, suffix, quality), losses(image, suffix) + lossy


def like(image: ImageFile, original: ImageFile) -> ImageFile:
    """``image`` with the metadata of ``original``. Raises ValueError if their sizes differ."""
    if image.size != original.size:
        raise ValueError("like: expected an image of the same size")
    return replace(image, metadata=original.metadata)


def preview(image: ImageFile, longest: int) -> bytes:
    """An upright PNG of 8 bits, scaled down if a side has more than ``longest`` pixels."""
    pixels = image.pixels if image.pixels.dtype == np.uint8 else (image.pixels >> 8).astype(np.uint8)
    small = Image.fromarray(pixels)
    if max(small.size) > longest:
        small.thumbnail((longest, longest), Image.Resampling.BOX, reducing_gap=2)
    file = io.BytesIO()
    small.save(file, "PNG", compress_level=1, icc_profile=image.metadata.icc)
    return file.getvalue()


def to_base64(content: bytes) -> str:
    """Encode the bytes of a file for JSON."""
    return base64.b64encode(content).decode("ascii")

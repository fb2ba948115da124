"""Reading an image for prediction: pixels at their bit depth, alpha and metadata (training: see ``images``)."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lama.interfaces import MaskArray
from lama.pictures.images import damage_named, decode
from lama.pictures.metadata import Metadata
from lama.pixels.plain import DIM, Pixels, plain_pixels, split_alpha

_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # bands of colour by PhotometricInterpretation of a TIFF


@dataclass(frozen=True)
class ImageFile:
    """An image file after its EXIF orientation has been applied."""

    pixels: Pixels
    alpha: Pixels | None = None  # (H, W), of the same dtype
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()  # messages about parts of the file that are not read
    turned: bool = False  # whether the EXIF orientation swapped width and height

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of pixels and alpha in memory."""
        return self.pixels.nbytes + (0 if self.alpha is None else self.alpha.nbytes)

    def no_context(self, others: MaskArray | None = None) -> MaskArray | None:
        """The pixels (H, W) that say nothing about a hole: transparent ones, and ``others``; None without any."""
        hidden = None if self.alpha is None or self.alpha.all() else self.alpha == 0
        return others if hidden is None else hidden if others is None else hidden | others


def read_image_file(path: str | Path, content: bytes | None = None) -> ImageFile:
    """Read an image: grey stays grey, 16 bits of PNG and TIFF stay, palettes become RGB, CMYK becomes sRGB.

    1-bit images become 8-bit grey; the first of several frames is read. If ``content`` (the bytes of the file) is
    given, ``path`` is only its name in messages. Raises FileNotFoundError if the file is missing, ValueError if it
    cannot be read or has 32 bits per channel.
    """
    path = Path(path).expanduser()
    if content is None and not path.is_file():
        raise FileNotFoundError(f"{path}: {'is a folder, expected an image' if path.is_dir() else 'no such file'}")
    with damage_named(path):
        return _read(path, content)


def _read(path: Path, content: bytes | None) -> ImageFile:
    opened, upright, orientation = decode(path, content)
    metadata = Metadata.of(opened, upright, had_orientation=orientation is not None)
    orientation = orientation if isinstance(orientation, int) else 1
    frames = 1 if opened.format == "MPO" else int(getattr(opened, "n_frames", 1))  # MPO: a photo and its previews
    notes: tuple[str, ...] = (f"only the first of {frames} frames is filled",) if frames > 1 else ()
    bands, lost = _extra_bands(opened)
    notes += (f"of its {bands} bands {lost} cannot be read; the result lacks them",) if lost else ()
    if _has_16_bits(path, content, opened):
        content = path.read_bytes() if content is None else content
        pixels, alpha = _decode_16_bits(path, content, opened.format == "PNG", orientation)
        alpha = None if lost else alpha  # the fourth band is none
    else:
        pixels, alpha = plain_pixels(path, upright)
        if upright.mode == "CMYK":
            notes += ("CMYK becomes sRGB",)
            metadata = replace(metadata, icc=None)
    return ImageFile(pixels, alpha, metadata, notes, turned=5 <= orientation <= 8)


def _has_16_bits(path: Path, content: bytes | None, image: Image.Image) -> bool:
    """Whether the file has 16 bits per channel; from its header, since Pillow reduces 16-bit colour to 8 bits."""
    if image.format == "PNG":
        return _png_header(_head(path) if content is None else content)[0] == 16
    bits = getattr(image, "tag_v2", {}).get(258, ())  # BitsPerSample of a TIFF
    return set(bits) == {16} and image.mode in ("I;16", "I;16B", "RGB", "RGBA", "RGBX")


def _extra_bands(image: Image.Image) -> tuple[int, int]:
    """(bands in the file, how many of them are neither colour nor alpha); only a TIFF has such bands."""
    tags = getattr(image, "tag_v2", {})
    bands = tags.get(277, 1)
    extras = np.atleast_1d(tags.get(338, ()))  # ExtraSamples: 0 = unspecified, 1 and 2 = alpha
    lost = bands - _COLOURS.get(tags.get(262, -1), bands) - int(bool(np.isin(extras[:1], (1, 2)).any()))
    return bands, max(0, lost)


def suspicions(path: Path, header: Image.Image, key: str) -> list[str]:
    """What is lost where an image is read as 8-bit RGB: bands, and bits; the setting ``key``, if any, stretches them.

    ``header`` is the file, opened by Pillow. With ``key``, images of 16 bits are decoded. Raises as
    ``read_image_file``.
    """
    return unread_bands(header) + (nearly_black(path, header, key) if key else [])


def unread_bands(header: Image.Image) -> list[str]:
    """A notice if the image has bands besides colour and alpha."""
    return ["it has bands besides colour and alpha, which are not read"] if _extra_bands(header)[1] else []


def nearly_black(path: Path, header: Image.Image, key: str) -> list[str]:
    """A notice if the image has 16 bits but uses few of them; decodes it. Raises as ``read_image_file``."""
    if not _has_16_bits(path, None, header) or read_image_file(path).pixels.max() >= DIM * 65535:
        return []
    return [f"its brightest pixel is below a sixteenth of 65535, so it is nearly black in 8 bits; {key}=4095 "
            "(for 12 bits, 1023 for 10) stretches it"]  # fmt: skip


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(26)


def _png_header(content: bytes) -> tuple[int, int]:
    """(bit depth, colour type)."""
    return content[24], content[25]


def _decode_16_bits(path: Path, content: bytes, is_png: bool, orientation: int) -> tuple[Pixels, Pixels | None]:
    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise ValueError(f"{path}: 16-bit image in an unsupported layout; save it as a plain 16-bit PNG")
    if is_png:  # OpenCV applies the orientation of a TIFF itself
        array = _turn(array, orientation)
    if is_png and _png_header(content)[1] == 4:  # grey with alpha; OpenCV returns BGRA
        array = array[..., [0, 3]]
    elif array.ndim == 3:
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    return split_alpha(array)


def _turn(array: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation to (H, W, ...)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)

"""Reading and writing images for training and evaluation: colour order, orientation and bit depth.

Every image becomes uint8 RGB (H, W, 3): the EXIF orientation is applied, grey is repeated, palettes are looked up, CMYK
is converted, 16 bits are reduced to the upper 8, alpha is dropped.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lama.files import atomic_write
from lama.interfaces import ImageArray, MaskArray

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def list_images(folder: str | Path) -> list[Path]:
    """All files below ``folder`` with one of ``SUFFIXES`` (in any case), sorted by path, without hidden files.

    Raises FileNotFoundError or NotADirectoryError if there is no such folder, ValueError if it holds no image.
    """
    root = Path(folder).expanduser()
    if root.is_file():
        raise NotADirectoryError(f"{root}: is a file, expected a folder")
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder (working directory: {Path.cwd()})")
    # macOS leaves ``._name.jpg``, a killed writer ``.name.png``: neither is an image.
    visible = (path for path in root.rglob("*") if not any(p.startswith(".") for p in path.relative_to(root).parts))
    files = sorted(path for path in visible if path.is_file())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not images:
        found = f"{len(files)} other files, such as {files[0].name}" if files else "nothing"
        raise ValueError(f"{root}: expected images ({' '.join(SUFFIXES)}, sub-folders included), found {found}")
    return images


def read_image(path: str | Path, content: bytes | None = None) -> ImageArray:
    """Decode an image to uint8 RGB (H, W, 3).

    If ``content`` (the bytes of the file) is given, ``path`` is only its name in messages. Raises FileNotFoundError if
    the file is missing, ValueError if it cannot be read.
    """
    try:
        return np.asarray(_to_rgb(decode(path, content)[1]))
    except (OSError, SyntaxError, MemoryError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path}: not a readable image ({type(error).__name__}: {error})") from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) after the EXIF orientation is applied, from the header alone."""
    width, height = image.size
    return (height, width) if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (width, height)


def header_size(path: Path) -> tuple[int, int]:
    """(width, height) as stored, from the header alone; (0, 0) for a file that Pillow cannot open."""
    try:
        with Image.open(path) as header:
            return header.size
    except Exception:  # Pillow raises errors of many types
        return 0, 0


def write_image(path: str | Path, image: ImageArray | MaskArray) -> None:
    """Write an image, or a mask as 0 / 255, atomically."""
    array = image.astype(np.uint8) * 255 if image.dtype == np.bool_ else image
    with atomic_write(path) as partial:
        Image.fromarray(array).save(partial)


def image_to_tensor(image: ImageArray) -> Tensor:
    """uint8 (H, W, 3) -> float32 (3, H, W) in [0, 1]."""
    return torch.from_numpy(image.transpose(2, 0, 1).copy()).float().div_(255)


def mask_to_tensor(mask: MaskArray) -> Tensor:
    """bool (H, W) -> float32 (1, H, W)."""
    return torch.from_numpy(mask[None].copy()).float()


def decode(path: str | Path, content: bytes | None = None) -> tuple[Image.Image, Image.Image, Any]:
    """(the image as stored, decoded; the same with its EXIF orientation applied; the orientation or None).

    The orientation is the value in the file, 1..8 unless it is damaged. Pillow applies that of a TIFF itself.
    Raises FileNotFoundError if the file is missing, ValueError if it cannot be read.
    """
    try:
        image = Image.open(path if content is None else io.BytesIO(content))
        orientation = image.getexif().get(0x0112)
        image.load()
        return image, ImageOps.exif_transpose(image), orientation
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, DecompressionBombError, ...
        reason = type(error).__name__ + (f": {error}" if content is None else "")  # the text names a BytesIO at 0x...
        raise ValueError(f"{path}: not a readable image ({reason}); repair or remove it") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    return image.convert("RGB")

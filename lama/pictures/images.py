"""Reading and writing images for training and evaluation: colour order, orientation and bit depth.

Every image becomes uint8 RGB (H, W, 3): the EXIF orientation is applied, grey is repeated, palettes are looked up, CMYK
is converted, 16 bits are reduced to the upper 8, alpha is dropped.
"""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from lama.files import atomic_write
from lama.interfaces import ImageArray, MaskArray

if TYPE_CHECKING:  # torch takes more than a second to import, and a prediction may need none
    from torch import Tensor

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it reports damage that our error is about
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
OTHERS = (".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".nef", ".arw")  # images that Pillow may not open either
REMEDY = "repair, replace or remove it"
NOT_USERS = ("@eaDir", "__MACOSX")  # folders of thumbnails and attributes, by Synology and by macOS


def list_images(folder: str | Path) -> list[Path]:
    """All files below ``folder`` with one of ``SUFFIXES`` (in any case), sorted by path; see ``files_below``.

    Raises FileNotFoundError or NotADirectoryError if there is no such folder, ValueError if it holds no image.
    """
    return images_and_others(folder)[0]


def images_and_others(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """``list_images``, and the images below ``folder`` in formats that are not read (``is_other_image``)."""
    root = Path(folder).expanduser()
    if root.is_file():
        raise NotADirectoryError(f"{root}: is a file, expected a folder")
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder (working directory: {Path.cwd()})")
    files = _names_below(root, hidden=False)
    images = [Path(name) for name in files if os.path.splitext(name)[1].lower() in SUFFIXES]
    if not images:
        found = f"{len(files)} other files, such as {os.path.basename(files[0])}" if files else "nothing"
        raise ValueError(f"{root}: expected images ({' '.join(SUFFIXES)}, sub-folders included), found {found}")
    rest = [] if len(images) == len(files) else map(Path, files)
    return images, [path for path in rest if is_other_image(path)]


def files_below(root: Path, hidden: bool = False) -> list[Path]:
    """The files in ``root`` and its sub-folders, sorted by path, without hidden files and the folders ``NOT_USERS``.

    Links to folders are followed, except those to a parent of ``root``. A folder with several paths is listed once,
    under its own path if it lies in ``root``. (macOS leaves ``._name.jpg``, a killed writer ``.name.png``: neither is
    an image.)
    """
    return [Path(name) for name in _names_below(root, hidden)]


def _names_below(root: Path, hidden: bool) -> list[str]:
    """The paths of ``files_below`` as text: a million of them in seconds, because no file is looked at by itself."""
    itself = root.resolve()
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = [str(root)]
    while waiting:  # the folders themselves first, then what their links lead to
        folders, links = sorted(waiting, key=_by_parts, reverse=True), []
        while folders:
            here = folders.pop()
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            for entry in _entries(here):
                if entry.name in NOT_USERS or (not hidden and entry.name[0] == "."):
                    continue
                if not entry.is_dir():
                    found += [entry.path] * entry.is_file()
                elif not entry.is_symlink():
                    folders.append(entry.path)
                elif not itself.is_relative_to(Path(entry.path).resolve()):
                    links.append(entry.path)
        waiting = links
    return sorted(found, key=_by_parts)


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    """What lies in ``folder``; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _by_parts(path: str) -> str:
    """The order of ``Path``: folder by folder."""
    return path.replace(os.sep, "\0")


def is_other_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, but not one of ``SUFFIXES``."""
    suffix = path.suffix.lower()
    known = Image.registered_extensions().get(suffix) in Image.OPEN or suffix in OTHERS
    return known and suffix not in SUFFIXES


def others_named(stem: str, folder: Path) -> str:
    """A hint for a missing image ``stem``: the file of another format with its name in ``folder``, if there is one."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.stem == stem and is_other_image(path):
                return f"; {path.name} is there, but its format is not read: convert it"
    return ""


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Without Pillow's warnings: about large photographs, and about damage, for which there is one error of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_header(file: str | Path | io.BytesIO, formats: list[str] | None = None) -> Image.Image:
    """``PIL.Image.open`` without its warnings; images above its limit of pixels are an error."""
    with quiet_pillow():
        return Image.open(file, formats=formats)


def too_large() -> str:
    """The message about an image above the limit of ``open_header``."""
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
    advice = "predict takes it with a larger max_megapixels=; else reduce or crop it"
    return f"has more than {limit:.0f} megapixels, the limit; {advice}"


def allow_megapixels(most: float) -> None:
    """Let this process open images of up to ``most`` megapixels (Pillow: 179). Raises ValueError for 0 or less.

    A small file may claim any size, so the limit bounds the memory that a file from an unknown source can take.
    """
    if not most > 0:
        raise ValueError(f"max_megapixels={most}: expected more than 0")
    Image.MAX_IMAGE_PIXELS = int(most * 1e6 / 2)  # Pillow warns from here on, and refuses from twice of it


def read_image(path: str | Path, content: bytes | None = None, white: int | None = None) -> ImageArray:
    """Decode an image to uint8 RGB (H, W, 3).

    If ``content`` (the bytes of the file) is given, ``path`` is only its name in messages. With ``white``, 16-bit
    values from 0 to ``white`` become 0 to 255; without, they are reduced to their upper 8 bits. Raises
    FileNotFoundError if the file is missing, ValueError if it cannot be read.
    """
    if white is not None:
        from lama.pictures.reading import read_image_file  # which imports this module

        pixels = read_image_file(path, content).pixels
        if pixels.dtype == np.uint16:
            levels = np.rint(pixels.astype(np.float32) * (255 / white)).clip(0, 255).astype(np.uint8)
            return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)
    with damage_named(path):
        return np.asarray(_to_rgb(decode(path, content)[1]))


@contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Turn every error of a decoder in this block into a ValueError that names ``path``.

    Pillow and OpenCV raise errors of many types for damaged files. Missing files and a lack of memory stay what they
    are.
    """
    try:
        yield
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{path}: "):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path}: not a readable image ({reason}); {REMEDY}") from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) after the EXIF orientation is applied, from the header alone."""
    width, height = image.size
    return (height, width) if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (width, height)


def header_size(path: Path) -> tuple[int, int]:
    """(width, height) as stored, from the header alone; (0, 0) for a file that Pillow cannot open."""
    try:
        with open_header(path) as header:
            return header.size
    except Exception:  # Pillow raises errors of many types
        return 0, 0


def write_image(path: str | Path, image: ImageArray | MaskArray) -> None:
    """Write an image, or a mask as 0 / 255, atomically."""
    array = image.astype(np.uint8) * 255 if image.dtype == np.bool_ else image
    with atomic_write(path) as partial:
        Image.fromarray(array).save(partial)


def image_to_tensor(image: ImageArray) -> "Tensor":
    """uint8 (H, W, 3) -> float32 (3, H, W) in [0, 1]."""
    import torch

    return torch.from_numpy(image.transpose(2, 0, 1).copy()).float().div_(255)


def mask_to_tensor(mask: MaskArray) -> "Tensor":
    """bool (H, W) -> float32 (1, H, W)."""
    import torch

    return torch.from_numpy(mask[None].copy()).float()


def decode(path: str | Path, content: bytes | None = None) -> tuple[Image.Image, Image.Image, Any]:
    """(the image as stored, decoded; the same with its EXIF orientation applied; the orientation or None).

    The orientation is the value in the file, 1..8 unless it is damaged. Pillow turns a TIFF by itself.
    Raises FileNotFoundError if the file is missing, ValueError if it cannot be read.
    """
    try:
        image = open_header(path if content is None else io.BytesIO(content))
        with quiet_pillow():
            orientation = image.getexif().get(0x0112)
            image.load()
            return image, ImageOps.exif_transpose(image), orientation
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: {too_large()}") from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, DecompressionBombError, ...
        advice = _unsupported(path if content is None else io.BytesIO(content))
        raise ValueError(
            f"{path}: not a readable image ({advice or f'{_reason(error, content)}); {REMEDY}'}"
        ) from error


def _reason(error: Exception, content: bytes | None) -> str:
    """Why Pillow cannot read a file, without the file's name."""
    if isinstance(error, UnidentifiedImageError):
        return "it has no known image format"
    return type(error).__name__ + (f": {error}" if content is None else "")  # the text names a BytesIO at 0x...


def _unsupported(file: str | Path | io.BytesIO) -> str:
    """What kind of sound TIFF Pillow cannot read; nothing for other files."""
    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            bands, bits, one = page.samplesperpixel, page.bitspersample, page.planarconfig == 1
    except Exception:  # of many types
        return ""
    return f"a TIFF of {bands} bands of {bits} bits{'' if one else ', each in a plane of its own'}); convert it to RGB"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    return image.convert("RGB")

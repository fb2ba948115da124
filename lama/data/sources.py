"""Sources of images: a folder, a list, tar shards, the photographs of scikit-image; and a cache of decoded images."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from lama.interfaces import FileSource, ImageArray, ImageSource, NamedSource
from lama.pictures.images import list_images, read_image

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


class _Files:
    reads_files = True  # its path is a file or a folder on this machine

    def __init__(self, paths: list[Path], root: Path, white: int | None) -> None:
        self.paths = paths
        self.white = white
        self.names = names_of(paths, root)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, ImageArray]:
        return self.names[index], read_image(self.paths[index], white=self.white)


class ImageFolder(_Files):
    """The images of a folder and its sub-folders, decoded on access. Raises as ``list_images`` and ``read_image``.

    ``white`` is the value of 16-bit images that becomes white, such as 4095 for 12 bits; None: 65535.
    """

    def __init__(self, path: str | Path, white: int | None = None) -> None:
        super().__init__(list_images(path), Path(path).expanduser(), white)


def names_of(paths: list[Path], root: Path) -> list[str]:
    """Names for results: relative to ``root``, without ``..``; with suffix only if two differ in nothing else."""
    stems = Counter(path.with_suffix("") for path in paths)
    names = []
    for path in paths:
        name = path.with_suffix("") if stems[path.with_suffix("")] == 1 else path
        inside = name.relative_to(root) if name.is_relative_to(root) else name
        names.append("/".join(part for part in inside.parts if part not in ("..", inside.anchor)))
    return names


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """At most ``count`` of the items, from the first to the last, at even distances."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[i] for i in chosen.tolist()]


def known_paths(source: ImageSource) -> Sequence[Path]:
    """The files of a source in its order; empty if it has none."""
    return source.paths if isinstance(source, FileSource) else ()


def known_names(source: ImageSource) -> Sequence[str]:
    """The names of a source in its order; empty if it knows them only from decoding."""
    return source.names if isinstance(source, NamedSource) else ()


class ImageList(_Files):
    """The images in a text file: one path per line, absolute or relative to the file; `` #`` starts a comment.

    ``white``: as in ``ImageFolder``.

    Raises FileNotFoundError if the list or one of its images is missing, ValueError if it is empty, is a folder or
    lists a file twice.
    """

    def __init__(self, path: str | Path, white: int | None = None) -> None:
        file = Path(path).expanduser()
        if file.is_dir():
            raise ValueError(f"{file}: is a folder, expected a text file; use data=folder for a folder")
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such list; expected a text file with one path per line")
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: expected a text file in UTF-8 with one path per line") from error
        lines = [re.split(r"(?:^|\s)#", line)[0].strip() for line in text.splitlines()]
        paths = [file.parent / Path(line).expanduser() for line in lines if line]
        if not paths:
            raise ValueError(f"{file}: expected one path per line, found none")
        twice = next((path for path, count in Counter(paths).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"{file}: {twice} is listed twice")
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(f"{file}: {len(missing)} of {len(paths)} files are missing, first {missing[0]}")
        super().__init__(paths, file.parent, white)


SPLITS = {
    "train": (
        "astronaut", "brick", "camera", "coins", "grass", "gravel", "hubble_deep_field", "immunohistochemistry",
        "motorcycle_left", "motorcycle_right", "rocket",
    ),
    "held_out": ("chelsea", "coffee", "retina"),
}  # fmt: skip


class BuiltinPhotos:
    """Photographs from the wheel of scikit-image, for training without a download.

    ``split`` is "train" or "held_out"; no image, and no second view of one, is in both. The shorter side is
    scaled to ``short_side`` pixels: by default a crop of 128 shows as much of a scene as the paper's crop of 256 from
    an image of 512. Raises ValueError for another split.
    """

    def __init__(self, split: str, short_side: int = 256) -> None:
        if split not in SPLITS:
            yours = "; photographs of your own: data=folder data.path=FOLDER"
            raise ValueError(f"built-in photographs: expected split train or held_out, got {split!r}{yours}")
        self.names = SPLITS[split]
        self.short_side = short_side

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, ImageArray]:
        name = self.names[index]
        return name, _builtin(name, self.short_side)


@lru_cache(maxsize=64)
def _builtin(name: str, short_side: int) -> ImageArray:
    import skimage.data

    loaders: dict[str, Callable[[], ImageArray]] = {
        "motorcycle_left": lambda: skimage.data.stereo_motorcycle()[0],
        "motorcycle_right": lambda: skimage.data.stereo_motorcycle()[1],
    }
    image = np.asarray(loaders.get(name, getattr(skimage.data, name, None))())  # type: ignore[misc]
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return scale_to_short_side(image[..., :3], short_side)


def scale_to_short_side(image: ImageArray, short_side: int) -> ImageArray:
    """Resize uint8 (H, W, 3) to a shorter side of ``short_side`` pixels; area averaging to shrink, else cubic."""
    height, width = image.shape[:2]
    factor = short_side / min(height, width)
    size = max(short_side, round(width * factor)), max(short_side, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC).astype(np.uint8)


class Subset:
    """The images of ``source`` at ``indices``."""

    def __init__(self, source: ImageSource, indices: list[int]) -> None:
        self.source = source
        self.indices = indices
        names, paths = known_names(source), known_paths(source)
        self.names = [names[i] for i in indices] if names else []
        self.paths = [paths[i] for i in indices] if paths else []

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[str, ImageArray]:
        return self.source[self.indices[index]]

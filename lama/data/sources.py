"""Sources of images: a folder, a list, tar shards, the photographs of scikit-image; and a cache of decoded images."""

import logging
import mmap
import multiprocessing
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from tqdm import tqdm

from lama.interfaces import FileSource, ImageArray, ImageSource, NamedSource
from lama.machine.memory import available
from lama.pictures.images import SUFFIXES, list_images, read_image

Item = TypeVar("Item")
logger = logging.getLogger(__name__)
GIGABYTE = 1 << 30
MOST = 4.0  # gigabytes, by default


class _Files:
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

    ``white`` is that of ``ImageFolder``.

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

    ``split`` is "train" or "held_out"; no image, and no second view of one, is in both (docs/architecture.md explains
    the split). The shorter side is scaled to ``short_side`` pixels: by default a crop of 128 shows as much of a scene
    as the paper's crop of 256 from an image of 512. Raises ValueError for another split.
    """

    def __init__(self, split: str, short_side: int = 256) -> None:
        if split not in SPLITS:
            raise ValueError(f"built-in photographs: expected split train or held_out, got {split!r}")
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


class TarShards:
    """The images of local tar files: ``part{00000..00039}.tar`` (braces are expanded), one file, or a folder of them.

    The shards are indexed once, and images are read at random from the archives. So samples are distributed over
    processes and workers as for any other source, and neither number changes the training; streaming whole shards per
    worker would. Raises FileNotFoundError or ValueError if a shard is missing or damaged, or none holds an image.
    """

    def __init__(self, path: str | Path, white: int | None = None) -> None:
        self.white = white  # that of ``ImageFolder``
        self.names: list[str] = []
        self.places: list[tuple[Path, int, int]] = []  # shard, offset, bytes
        shards = _expand(str(path))
        stems = Counter(shard.stem for shard in shards)
        for shard in tqdm(shards, desc="indexing shards", unit="shard", leave=False):
            self._index(shard, shard.stem if stems[shard.stem] == 1 else f"{shard.parent.name}/{shard.stem}")
        if not self.places:
            raise ValueError(f"{path}: expected images ({' '.join(SUFFIXES)}) in the shards, found none")

    def _index(self, shard: Path, prefix: str) -> None:
        try:
            with tarfile.open(shard, "r:") as archive:
                for member in archive:
                    if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                        self.names.append(f"{prefix}/{Path(member.name).with_suffix('').as_posix()}")
                        self.places.append((shard, member.offset_data, member.size))
                check_end(archive)
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(f"{shard}: damaged or compressed tar file ({error}); expected a plain .tar") from error

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[str, ImageArray]:
        shard, offset, size = self.places[index]
        with shard.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        return self.names[index], read_image(f"{shard}: {self.names[index]}", content, self.white)


def check_end(archive: tarfile.TarFile) -> None:
    """Raise tarfile.ReadError unless the archive ends with a zero block: tarfile takes damage for the end."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it ends at byte {archive.offset} without an end mark")


def _expand(path: str) -> Sequence[Path]:
    if "://" in path or path.startswith("pipe:"):
        raise ValueError(f"{path}: shards must be local files")
    root = Path(path).expanduser()
    if root.is_dir():
        shards = sorted(root.glob("*.tar"))
        if not shards:
            raise ValueError(f"{root}: expected .tar files, found none")
        return shards
    if "{" not in str(root):
        if not root.is_file():
            raise FileNotFoundError(f"{root}: no such shard")
        return [root]
    try:
        from braceexpand import braceexpand
    except ImportError:
        raise ValueError(f"{path}: braces in shard names need braceexpand: pip install braceexpand") from None
    shards = [Path(name) for name in braceexpand(str(root))]
    missing = [shard for shard in shards if not shard.is_file()]
    if missing:
        raise FileNotFoundError(f"{path}: {len(missing)} of {len(shards)} shards are missing, first {missing[0]}")
    return shards


class DecodedCache:
    """A source that keeps decoded images up to ``gigabytes`` in total; further images are decoded on every access.

    Forked worker processes share the memory, which fills as images are read. Spawned processes (Windows, macOS) each
    have an empty cache of size 0. Raises ValueError if the memory cannot be reserved.
    """

    def __init__(self, source: ImageSource, gigabytes: float) -> None:
        self.source = source
        self.size = int(gigabytes * GIGABYTE)
        self._make_room()

    def _make_room(self) -> None:
        n = len(self.source)
        try:
            self.memory = mmap.mmap(-1, self.size + n * 24)
        except (OSError, OverflowError, ValueError) as error:
            asked = f"data.cache_gb={self.size / GIGABYTE:g}"
            raise ValueError(f"{asked}: more than this machine can reserve; choose less") from error
        self.pixels = np.frombuffer(self.memory, np.uint8, self.size, offset=n * 24)
        # per image: its offset in ``pixels`` plus 1 (0 = not cached), height, width
        self.table = np.frombuffer(self.memory, np.int64, n * 3).reshape(n, 3)
        self.used = multiprocessing.Value("q", 0)
        self.names, self.paths = known_names(self.source), known_paths(self.source)

    def share_machine(self, processes: int) -> None:
        """Limit the cache to 1 / ``processes`` of its size, for processes with a cache each."""
        self.size //= processes

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[str, ImageArray]:
        with self.used.get_lock():  # orders the reads after the writes of ``_keep``, on every processor
            start, height, width = self.table[index].tolist()
        if start:
            image = self.pixels[start - 1 : start - 1 + height * width * 3].reshape(height, width, 3)
            image.flags.writeable = False
            return self.names[index] if self.names else self.source[index][0], image
        name, image = self.source[index]
        self._keep(index, image)
        return name, image

    def _keep(self, index: int, image: ImageArray) -> None:
        with self.used.get_lock():
            start = self.used.value
            if start + image.size > self.size:
                return
            self.used.value = start + image.size
        self.pixels[start : start + image.size] = image.reshape(-1)
        with self.used.get_lock():
            self.table[index] = start + 1, *image.shape[:2]

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:  # in a spawned process
        self.source, self.size = state["source"], 0
        self._make_room()


def gigabytes_to_spare(asked: float | None) -> float:
    """``asked``, or a quarter of the available memory (that of the container, in one), at most ``MOST``."""
    if asked is not None:
        if asked < 0:
            raise ValueError(f"data.cache_gb: expected 0 (none) or more gigabytes, or null, got {asked}")
        return asked
    return min(MOST, available(torch.device("cpu")) / GIGABYTE / 4)

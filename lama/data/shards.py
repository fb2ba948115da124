"""Images in tar shards, in the layout of the ``webdataset`` package."""

import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from lama.interfaces import ImageArray
from lama.pictures.images import SUFFIXES, read_image


class TarShards:
    """The images of local tar files: ``part{00000..00039}.tar`` (braces are expanded), one file, or a folder of them.

    The shards are indexed once, and images are read at random from the archives. So samples are distributed over
    processes and workers as for any other source, and neither number changes the training; streaming whole shards per
    worker would. Raises FileNotFoundError or ValueError if a shard is missing or damaged, or none holds an image.
    """

    def __init__(self, path: str | Path, white: int | None = None) -> None:
        self.white = white  # as in ``ImageFolder``
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

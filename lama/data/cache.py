"""A cache of decoded images in memory that all workers of a DataLoader share."""

import mmap
import multiprocessing
from typing import Any

import numpy as np
import torch

from lama.data.sources import known_names, known_paths
from lama.interfaces import ImageArray, ImageSource
from lama.machine.memory import available

GIGABYTE = 1 << 30
MOST = 4.0  # gigabytes, by default


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
    """``asked``, or a quarter of the memory that is available to this process or container, at most ``MOST``."""
    if asked is not None:
        if asked < 0:
            raise ValueError(f"data.cache_gb: expected 0 (none) or more gigabytes, or null, got {asked}")
        return asked
    return min(MOST, available(torch.device("cpu")) / GIGABYTE / 4)

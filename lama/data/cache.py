"""Decoded images in memory that all workers of a DataLoader share."""

import logging
import mmap
import multiprocessing
import os
from typing import Any

import numpy as np

from lama.interfaces import ImageArray, ImageSource

logger = logging.getLogger(__name__)

GIGABYTE = 1 << 30
MOST = 4.0  # gigabytes, where nothing was asked for


class DecodedCache:
    """A source that keeps what it has decoded, up to ``gigabytes``; later images are decoded every time.

    The memory is shared by processes that are forked from this one, and taken as images come. Where processes are
    spawned (Windows, macOS) every worker decodes for itself.
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
            raise ValueError(f"data.cache_gb={self.size / GIGABYTE:g}: this machine has no such memory") from error
        self.pixels = np.frombuffer(self.memory, np.uint8, self.size, offset=n * 24)
        # per image: where it begins plus 1 (0 = not there), height, width
        self.table = np.frombuffer(self.memory, np.int64, n * 3).reshape(n, 3)
        self.used = multiprocessing.Value("q", 0)

    def share_machine(self, processes: int) -> None:
        """Take no more than a part of the memory; each of so many processes here has a cache of its own."""
        self.size //= processes

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[str, ImageArray]:
        start, height, width = self.table[index].tolist()
        if start:
            image = self.pixels[start - 1 : start - 1 + height * width * 3].reshape(height, width, 3)
            image.flags.writeable = False
            return self._name(index), image
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
        self.table[index, 1:] = image.shape[:2]
        self.table[index, 0] = start + 1  # last: whoever sees it sees the rest

    def _name(self, index: int) -> str:
        names: Any = getattr(self.source, "names", None)
        return names[index] if names is not None else self.source[index][0]

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:  # in a spawned process: a cache of its own, empty
        self.source, self.size = state["source"], 0
        self._make_room()


def gigabytes_to_spare(asked: float | None) -> float:
    """``asked``, or a quarter of the free memory but no more than ``MOST``."""
    if asked is not None:
        if asked < 0:
            raise ValueError(f"data.cache_gb: expected 0 (none) or more gigabytes, or null, got {asked}")
        return asked
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIGABYTE
    except (ValueError, OSError, AttributeError):  # not on this system
        return 0.0
    return min(MOST, free / 4)

"""A cache of vectors that were computed for images, by the images' content."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Store:
    """Vectors by (extractor, content), in a file that several processes may share; in a temporary file without a path.

    ``computed`` and ``remembered`` count the vectors that were missing and found. Raises ValueError for another file.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.computed = self.remembered = 0
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.database = sqlite3.connect("" if self.path is None else self.path, timeout=60)
            self.database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
        except sqlite3.DatabaseError as error:
            raise ValueError(f"cache={path}: not a file of remembered features ({error}); choose another") from error

    def __reduce__(self) -> Any:
        return Store, (self.path,)  # connections to sqlite cannot be copied: open the file again

    def get(
        self, extractor: str, contents: Sequence[bytes], compute: Callable[[list[int]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """The vector of each content, (N, D); ``compute`` maps indices of missing ones to vectors, which are kept.

        A content that occurs twice is computed once.
        """
        keys = [hashlib.sha256(extractor.encode() + b"\0" + content).digest() for content in contents]
        known: dict[bytes, Any] = {}
        for key in keys:
            row = self.database.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
            if row is not None:
                known[key] = np.frombuffer(row[0], np.float32)
        missing = [i for i, key in enumerate(keys) if key not in known and key not in keys[:i]]
        if missing:
            vectors = np.asarray(compute(missing), np.float32)
            self.computed += len(missing)
        self.remembered += len(keys) - len(missing)
        if missing:
            rows = [(keys[i], vector.tobytes()) for i, vector in zip(missing, vectors, strict=True)]
            with self.database:
                self.database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
            known |= {keys[i]: vector for i, vector in zip(missing, vectors, strict=True)}
        return np.stack([known[key] for key in keys])


class Rows:
    """Vectors (N, D) that arrive a few at a time, in one block: many small arrays fragment the memory."""

    def __init__(self) -> None:
        self.block = np.empty((0, 0), np.float32)
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Append (B, D). A full block is replaced by one of twice the size."""
        count = self.count + len(vectors)
        if count > len(self.block):
            grown = np.empty((max(count, 2 * len(self.block), 1024), vectors.shape[1]), np.float32)
            if self.count:
                grown[: self.count] = self.array
            self.block = grown
        self.block[self.count : count] = vectors
        self.count = count

    @property
    def array(self) -> NDArray[np.float32]:
        """(N, D), a view."""
        return self.block[: self.count]

    def sort(self, order: Sequence[int]) -> None:
        self.block = self.array[order]


def content_of(image: Tensor) -> list[bytes]:
    """The digest of the 8-bit values and of the size of each image of (B, C, H, W) in [0, 1]."""
    array = (image * 255).round().clamp(0, 255).byte().cpu().numpy()
    head = repr(array.shape[1:]).encode()
    return [hashlib.sha256(head + single.tobytes()).digest() for single in array]


def is_8_bit(image: Tensor) -> bool:
    """True where all values are multiples of 1/255, to rounding: CUDA divides by multiplying with 1/255."""
    return bool(((image * 255).round() - image * 255).abs().max() < 1e-3)

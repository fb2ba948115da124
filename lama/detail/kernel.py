"""``patchmatch.cpp`` from Python."""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lama.detail.level import Int, Level, Long
from lama.detail.patchmatch import Kernel, Plain
from lama.fast import native

_ARRAYS = ("detail", "low", "source", "centres", "locality", "cost", "match", "used", "energy")
_NUMBERS = ("height", "width", "guide", "slope", "reuse", "threads")


class _Level(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in _ARRAYS] + [(name, ctypes.c_int64) for name in _NUMBERS]


class Compiled:
    """The kernel in C++."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    def costs(self, level: Level, first: int, stop: int, candidates: Int) -> Long:
        result = np.empty(stop - first, np.int64)
        self._call("costs", level, first, stop, candidates, result)
        return result

    def improve(self, level: Level, first: int, stop: int, jumps: Sequence[int], reach: int, seed: int) -> None:
        before = np.empty(stop - first, np.int32)
        distances = np.array(jumps, np.int64)
        self._call("improve", level, first, stop, distances, len(jumps), reach, ctypes.c_uint32(seed), before)

    def vote(self, level: Level, weight: Int, fall: Int) -> None:
        self._call("vote", level, level.pixels, len(level.pixels), weight, fall)

    def _call(self, name: str, level: Level, *arguments: Any) -> None:
        height, width = level.hole.shape
        numbers = (height, width, level.guide, level.slope, level.reuse, level.threads)
        described = _Level(*(getattr(level, array).ctypes.data for array in _ARRAYS), *numbers)
        passed = [_argument(value) for value in arguments]
        function = self.library[f"lama_detail_{name}"]
        if function(ctypes.byref(described), ctypes.c_int64(level.radius), *passed):
            raise ValueError(f"patches of radius {level.radius}: expected 2, 3 or 4")


def _argument(value: Any) -> Any:
    """For ctypes: the address of an array, an integer of 64 bits, or what has a type already."""
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.c_int64(value) if isinstance(value, int) else value


@functools.cache
def _compiled() -> Compiled | None:
    library = native.load(str(Path(__file__).with_name("patchmatch")))
    return None if library is None else Compiled(library)


def find_kernel(compiled: bool = True) -> Kernel:
    """C++ where it is asked for and can be had, NumPy otherwise."""
    return (_compiled() if compiled else None) or Plain()


def can_compile() -> bool:
    """Whether the kernel in C++ is there, or can be built on this machine, which takes some seconds once."""
    return _compiled() is not None

"""Settings of glibc's memory allocator: keep large blocks for speed, or bound the memory of a server.

A forward pass allocates and frees hundreds of blocks of 10 to 500 MB. By default glibc requests each from the kernel,
which fills every 4 KB page with zeros at a page fault. Kept blocks are reused without page faults; with huge pages,
their first use has 512 times fewer faults too. Kept blocks fragment, which about doubles peak memory: use them for
small images only. The settings change the whole process, so they are for programs (``bin/``), not for library calls.
"""

import ctypes
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

MOST_PIXELS = 1024 * 1024  # larger images need too much memory with kept blocks
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # malloc.h
_PRIMITIVES = 128  # compiled kernels that oneDNN caches, one for each layer and image size
_GIGABYTE = 1 << 30


def tune_allocator(max_pixels: int) -> bool:
    """Keep large blocks if no image has more than 1024 x 1024 pixels; returns whether this was done.

    To be called before torch allocates its first large tensor, when it reads the setting of huge pages. Does nothing
    without glibc.
    """
    if max_pixels > MOST_PIXELS:
        return False
    libc = _glibc()
    if libc is None:
        return False
    mallopt = libc.mallopt
    # older versions of glibc refuse more than 32 MB
    kept = mallopt(_M_MMAP_THRESHOLD, _GIGABYTE) or mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    mallopt(_M_TRIM_THRESHOLD, _GIGABYTE)
    mallopt(_M_TOP_PAD, 64 << 20)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    return bool(kept)


def bound_for_serving() -> None:
    """Bound the caches of oneDNN and glibc, for a process that computes images of many sizes in several threads.

    By default oneDNN caches 1024 compiled kernels, and glibc has an arena for each thread. To be called before torch
    computes anything.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_PRIMITIVES))
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Return free memory of glibc's arenas to the system, for an idle process."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> Any:
    """glibc's C library, or None on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.gnu_get_libc_version  # noqa: B018  (musl's mallopt does nothing)
        libc.mallopt  # noqa: B018
        return libc
    except (OSError, AttributeError):
        return None


def tune_for_training(accelerator: str, batch_size: int, crop: int | Sequence[int]) -> bool:
    """``tune_allocator`` for the batches of a training on a CPU; returns whether this was done."""
    import torch

    if accelerator != "cpu" and (accelerator != "auto" or torch.cuda.is_available()):
        return False
    return tune_allocator(batch_size * (crop**2 if isinstance(crop, int) else math.prod(crop)))

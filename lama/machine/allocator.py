"""glibc's memory allocator: told to keep large blocks, or, for a server, not to grow.

With large blocks kept, a forward pass has no page faults after the first.

A network takes and gives back blocks of 10 to 500 MB by the hundred. By default glibc asks the system for each anew,
and the system fills every 4 KB page with zeros. Kept, they are reused; in huge pages, the first touch costs 512 times
fewer faults as well. Kept blocks also fragment, so that the peak about doubles: worth it for small images only.

This changes the whole process, so it is for programs (``bin/``), never for a library call.
"""

import ctypes
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

MOST_PIXELS = 1024 * 1024  # up to here it is tuned
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # malloc.h
_PRIMITIVES = 128  # of oneDNN: one for each layer and size of image
_GIGABYTE = 1 << 30


def tune_allocator(max_pixels: int) -> bool:
    """Tune it unless images are larger than 1024 x 1024: ``max_pixels`` is the largest. True where it was done.

    To be called before torch makes its first tensor of megabytes: that is when it reads the setting of huge pages.
    Does nothing without glibc.
    """
    if max_pixels > MOST_PIXELS:
        return False
    libc = _glibc()
    if libc is None:
        return False
    mallopt = libc.mallopt
    # older versions refuse more than 32 MB, which is their own upper limit for the automatic threshold
    kept = mallopt(_M_MMAP_THRESHOLD, _GIGABYTE) or mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    mallopt(_M_TRIM_THRESHOLD, _GIGABYTE)
    mallopt(_M_TOP_PAD, 64 << 20)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    return bool(kept)


def bound_for_serving() -> None:
    """Let a process that computes images of ever other sizes, from several threads, not grow with their number.

    To be called before torch computes. oneDNN keeps what it has compiled, for 1024 layers and sizes by default, and
    glibc an arena for each thread.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_PRIMITIVES))
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Return to the system what is free in glibc's arenas: for when nothing is to be computed."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> Any:
    """None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.gnu_get_libc_version  # noqa: B018  (musl has mallopt in name only)
        libc.mallopt  # noqa: B018
        return libc
    except (OSError, AttributeError):
        return None


def tune_for_training(accelerator: str, batch_size: int, crop: int | Sequence[int]) -> bool:
    """The same for a training on a CPU, where the crops of a batch are computed at once; True where it was done."""
    import torch

    if accelerator != "cpu" and (accelerator != "auto" or torch.cuda.is_available()):
        return False
    return tune_allocator(batch_size * (crop**2 if isinstance(crop, int) else math.prod(crop)))

"""Available memory of this machine, peak memory of this process, and the settings of glibc's memory allocator.

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
from pathlib import Path
from typing import Any

import torch

_GIB = 2**30
_SHARE = 0.8  # of the free memory: other processes need some, and the free memory is an estimate
_UNKNOWN = 4 * _GIB  # assumed where the system does not tell
MOST_PIXELS = 1024 * 1024  # larger images need too much memory with kept blocks
_PRIMITIVES = 128  # compiled kernels that oneDNN caches, one for each layer and image size
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # malloc.h


def available(device: torch.device) -> int:
    """Bytes of memory that may be used on ``device``: 80 % of the free memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, to be reused
        return int(_SHARE * (free + cached))
    free = min([_free_in_system(), *_free_in_cgroups()])
    if device.type == "mps":
        free = min(free, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(_SHARE * free)


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated on the GPU ``device``, else the resident set of this process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _free_in_system(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes: MemAvailable on Linux, half of the physical memory elsewhere."""
    try:
        for line in meminfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return _UNKNOWN


def _free_in_cgroups(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes left in this process's control groups (version 1, 2) and their parents: a container sees only the root."""
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return []
    left = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = base / path.lstrip("/")
        for folder in [group, *group.parents]:
            if folder.is_relative_to(base):
                left += _left(folder, *names)
    return left


def _left(folder: Path, limit: str, usage: str, cache: str) -> list[int]:
    """[limit - usage + reclaimable file cache] in bytes, or [] without a limit."""
    try:
        most = (folder / limit).read_text(encoding="utf-8").strip()
        used = int((folder / usage).read_text(encoding="utf-8"))
        if most == "max" or int(most) >= 2**60:
            return []
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return [max(0, int(most) - used + int(stat.get(cache, 0)))]
    except (OSError, ValueError):
        return []


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
    kept = mallopt(_M_MMAP_THRESHOLD, _GIB) or mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    mallopt(_M_TRIM_THRESHOLD, _GIB)
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

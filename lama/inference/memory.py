"""How much memory a prediction takes, how much there is, and how much a process has had."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lama.interfaces import Generator

_GIB = 2**30
_SHARE = 0.8  # of what is free: others want some too, and the figures below are estimates
_UNKNOWN = 4 * _GIB  # where the system does not say what it has

# Peak bytes above what the process holds before, measured for LaMa-Fourier at full width, batch 1, on a CPU:
# pytest -m slow tests/test_strategies.py -k peak -s
_TOP = {"plain": 13.5, "fp32": 8.0, "bf16": 4.0}  # per channel and pixel of the first level, which has ngf channels
_BLOCKS = {"plain": 1.0, "fp32": 12.0, "bf16": 10.0}  # per channel and pixel at the resolution of the blocks
_IN_AND_OUT = 4 * (4 + 4 + 3 + 3)  # per pixel: what goes in, padded, and what comes out, cropped, in float32
_STRIPES = {"fp32": 2**20, "bf16": 2**20}  # per channel of the first level: the rows in hand, in place of all
_FIXED = 64 * 2**20  # work space of the libraries, whatever the size


@dataclass(frozen=True)
class Memory:
    """An estimate of what computing ``height`` x ``width`` pixels takes, beside the ``limit`` it must stay under.

    All in bytes. ``stripes`` is None where a network cannot be computed row by row.
    """

    limit: int
    top: float  # per pixel, for encoder and decoder at once
    blocks: float  # per pixel, for the blocks between them
    stripes: float | None  # in all, in place of ``top``: encoder and decoder row by row

    def needs(self, height: int, width: int, striped: bool = False, batch: int = 1) -> int:
        """Peak of one computation, beside the network itself and the pictures."""
        pixels = batch * height * width
        if striped and self.stripes is not None:
            return int(_FIXED + self.stripes + pixels * (_IN_AND_OUT + self.blocks))
        return int(_FIXED + pixels * (_IN_AND_OUT + self.blocks + self.top))

    def striped(self, height: int, width: int) -> bool:
        """Whether this size is better computed row by row: it does not fit otherwise, and takes less so."""
        whole = self.needs(height, width)
        return self.stripes is not None and whole > self.limit and self.needs(height, width, True) < whole

    def fits(self, height: int, width: int) -> bool:
        """Whether this size can be computed under the limit, row by row if need be."""
        return self.needs(height, width, self.striped(height, width)) <= self.limit


def estimate(generator: Generator | nn.Module, kind: str, limit: int) -> Memory:
    """What ``generator`` takes; ``kind`` is "plain" (the trained module) or the precision of its fast equivalent.

    Only the widths of the network matter, not its depth: no block keeps anything for the next. A generator that does
    not state its widths counts as LaMa-Fourier.
    """
    stated = getattr(generator, "config", {})
    ngf, n = stated.get("ngf", 64), stated.get("n_downsampling", 3)
    channels = min(stated.get("max_features", 1024), ngf * 2**n)
    return Memory(
        limit=limit,
        top=_TOP[kind] * ngf,
        blocks=_BLOCKS[kind] * channels / 4**n,
        stripes=_STRIPES[kind] * ngf if kind in _STRIPES else None,
    )


def available(device: torch.device) -> int:
    """Bytes that a prediction on ``device`` may take: four fifths of what is free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(
            device
        )  # torch's own, free to use again
        return int(_SHARE * (free + kept))
    free = min([_free_in_system(), *_free_in_cgroups()])
    if device.type == "mps":
        free = min(free, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(_SHARE * free)


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that was allocated on a GPU, or the most that this process has held where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _free_in_system(meminfo: Path = Path("/proc/meminfo")) -> int:
    """MemAvailable of Linux; half of the physical memory elsewhere."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return _UNKNOWN


def _free_in_cgroups(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """What is left under the limit of every control group that this process is in, version 1 and 2.

    A container sees its own group at the root whatever the path says, so the parents are looked at as well.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
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
    """[limit - usage + file cache that can be dropped], or [] where there is no limit."""
    try:
        most, used = (folder / limit).read_text().strip(), int((folder / usage).read_text())
        if most == "max" or int(most) >= 2**60:
            return []
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return [max(0, int(most) - used + int(stat.get(cache, 0)))]
    except (OSError, ValueError):
        return []

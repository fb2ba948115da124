"""How much memory there is, and how much a process has had."""

import os
import sys
from pathlib import Path

import torch

_GIB = 2**30
_SHARE = 0.8  # of what is free: others want some too, and the figures below are estimates
_UNKNOWN = 4 * _GIB  # where the system does not say what it has


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

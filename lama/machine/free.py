"""Free memory of this machine and of the control groups of this process."""

import os
from pathlib import Path

SHARE = 0.8  # of the free memory: other processes need some, and the free memory is an estimate
_UNKNOWN = 4 * 2**30  # bytes, assumed where the system does not tell


def free_memory() -> int:
    """Bytes that this process can still take."""
    return min([_free_in_system(), *_free_in_cgroups()])


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

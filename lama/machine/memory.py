"""Available memory of this machine, and peak memory of this process."""

import re
import sys
from pathlib import Path

import torch

from lama.machine.free import SHARE, free_memory


def available(device: torch.device) -> int:
    """Bytes of memory that may be used on ``device``: 80 % of the free memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, to be reused
        return int(SHARE * (free + cached))
    free = free_memory()
    if device.type == "mps":
        free = min(free, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(SHARE * free)


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated on the GPU ``device``, else the resident set of this process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8")) if status.is_file() else None
    if found:  # Linux, where ru_maxrss counts the memory of the process that has started this one too
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

"""Say that other programs keep the processor busy: then several threads wait for each other."""

import logging
import os
from functools import cache

import torch

logger = logging.getLogger(__name__)


@cache
def warn_if_crowded() -> None:
    """Log one line, once, if this process has more threads than there are free cores.

    The number of threads is not changed: it may change the last bits of results.
    """
    line = crowded(torch.get_num_threads())
    if line:
        logger.warning("%s", line)


def crowded(threads: int) -> str:
    """The line; "" where there is room, one thread, or no way to know."""
    try:
        load, cores, ours = os.getloadavg()[0], os.cpu_count() or 1, len(os.sched_getaffinity(0))
    except (OSError, AttributeError):  # not on this system
        return ""
    if threads < 2 or ours < cores or load < 0.5 or threads + load < cores + 0.5:
        return ""
    free = max(1, round(cores - load))
    return (f"other programs use {min(load, cores):.1f} of {cores} cores; {threads} threads beside them may be several "
            f"times slower than OMP_NUM_THREADS={free}")  # fmt: skip

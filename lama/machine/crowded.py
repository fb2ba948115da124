"""Know that other programs keep the processor busy: then the threads of a training wait for each other."""

import os


def crowded(threads: int) -> str:
    """A line to log where ``threads`` outnumber the free cores; "" where there is room, or no way to know.

    The number of threads is not changed, since it may change the last bits of results.
    """
    try:
        load, cores, ours = os.getloadavg()[0], os.cpu_count() or 1, len(os.sched_getaffinity(0))
    except (OSError, AttributeError):  # not on this system
        return ""
    if threads < 2 or ours < cores or load < 0.5 or threads + load < cores + 0.5:
        return ""
    free = max(1, round(cores - load))
    return (f"warning: other programs use {min(load, cores):.1f} of {cores} cores; {threads} threads beside them are "
            f"slower than OMP_NUM_THREADS={free}")  # fmt: skip

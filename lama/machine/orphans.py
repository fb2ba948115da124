"""Processes that end with the one that started them, however that one ends."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of prctl(2)


def end_with(parent: int) -> None:
    """On Linux, the system kills this process when ``parent``, the process that has forked it, ends.

    Workers of a data loader notice a killed parent by themselves, but cannot end if a worker was killed before it while
    it handed over a batch: they wait for its lock.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended just before
        os.kill(os.getpid(), signal.SIGKILL)

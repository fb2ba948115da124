"""Lock a folder: one training at a time in a run folder, one command at a time in the folder of a sweep."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


@contextmanager
def only_one(
    run_dir: Path, key: str = "run_dir", what: str = "training", shown: object = None, wait: float = 0
) -> Iterator[None]:
    """Hold the lock of ``run_dir``, the folder of the configuration key ``key``, during the block.

    The operating system releases the lock when the process ends, however it ends, and forked workers do not inherit it;
    a killed run can be resumed at once. The file ``.lock`` stays and names the latest holder. Raises ValueError where
    another process holds the lock after ``wait`` seconds; the message says ``key`` = ``shown``, by default the folder.
    A file system without locks only causes a warning.
    """
    lock = FileLock(run_dir / ".lock", timeout=wait, fallback_to_soft=False, on_acquired=_name_holder)
    try:
        lock.acquire()
    except Timeout as error:
        where = f"{key}={run_dir if shown is None else shown}"
        raise ValueError(f"{where}: another {what} is running there ({_holder(run_dir)}); wait for it, stop it, or "
                         f"choose another {key}=") from error  # fmt: skip
    except OSError as error:
        logger.warning("%s=%s: cannot be locked (%s); make sure that one %s at a time writes there",
                       key, run_dir, error.strerror, what)  # fmt: skip
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether another process, or another block of this one, holds the lock of ``folder``."""
    lock = FileLock(folder / ".lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # a file system without locks
        return False
    lock.release()
    return False


def _name_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())


def _holder(run_dir: Path) -> str:
    """The process that holds the lock, as far as it can be read."""
    try:
        return (run_dir / ".lock").read_text(encoding="utf-8").strip() or "holder unknown"
    except OSError:  # Windows locks the content too
        return "holder unknown"

"""One training at a time in a run folder, one command at a time in that of a sweep."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where the folder is not guarded
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)


@contextmanager
def only_one(run_dir: Path, key: str = "run_dir", what: str = "training") -> Iterator[None]:
    """Hold ``run_dir``/.lock, the folder that the user's ``key`` names. Raises ValueError where another holds it.

    The lock is the system's, of this process and not of workers forked from it: it goes with the process, however that
    ends, so that a killed run can be continued at once. The file stays, since removing it could not be made safe.
    """
    if fcntl is None:
        yield
        return
    with (run_dir / ".lock").open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            who = file.read().strip() or "of which nothing more is known"
            raise ValueError(f"{key}={run_dir}: another {what} is going on there ({who}); wait for it, stop it, or "
                             f"choose another {key}=") from error  # fmt: skip
        except OSError as error:  # a network file system without locks
            logger.warning("%s cannot be locked (%s): see to it that one training at a time writes there",
                           run_dir, error.strerror)  # fmt: skip
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield

"""One job of a sweep: run its command, retry after a crash, and record the outcome.

Signals are passed on to the command; a training then writes a checkpoint and exits with 75. When the time of a job
is up (SIGUSR2, from submitit), submitit's handler then queues it again; when SLURM requeues a job itself (SIGTERM),
nothing more is needed. If a job has several tasks, each runs the same command, and Lightning connects them.
"""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from lama.runs.signals import INTERRUPTED, TRY_AGAIN, stop_signals
from lama.sweeps.plan import Piece, Plan
from lama.sweeps.state import DONE, FAILED, RUNNING, STOPPED, end_of, is_recorded, log_file, record

logger = logging.getLogger(__name__)


class Job:
    """One process of the cluster (or of this machine) that does one piece of work, with retries."""

    def __init__(self, sweep: Plan, work: Piece) -> None:
        self.sweep, self.work = sweep, work
        self.first = os.environ.get("SLURM_PROCID", "0") == "0"
        self.asked: int | None = None  # the signal that has asked it to stop
        self.child: subprocess.Popen[bytes] | None = None
        self.begun = False

    def run(self) -> None:
        """Run the command to its end. Raises SystemExit, with the exit code of ``lama train``, if a signal stops it."""
        if self.first:
            logger.info("%s: output in %s", self.work.title, log_file(self.sweep, self.work))
        before = {number: signal.signal(number, self._pass_on) for number in stop_signals()}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])  # held back since the start (``launch.PYTHON``)
        try:
            code, error = self._attempts()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if code == 0:
            self._say(DONE)
        elif self.asked is not None or code in (TRY_AGAIN, INTERRUPTED):
            self._say(STOPPED)
            if self.asked == signal.SIGUSR2:
                os.kill(os.getpid(), signal.SIGUSR2)  # submitit's handler queues the job again
            if self.first:
                logger.warning("%s: stopped; the same command %s", self.work.title, self.sweep.continues(self.work))
            sys.exit(INTERRUPTED if self.asked == signal.SIGINT else TRY_AGAIN)
        else:
            self._say(FAILED, error=error)

    def _attempts(self) -> tuple[int, str]:
        """The exit code and the last line of output of the last attempt."""
        code, error = TRY_AGAIN, ""
        for attempt in range(1 + self.sweep.retries):
            self._say(RUNNING, attempt=attempt + 1)
            code = TRY_AGAIN  # it stopped after a checkpoint, by a killed data worker for example
            while code == TRY_AGAIN and self.asked is None:
                code, error = self._once()
            if code in (0, TRY_AGAIN, INTERRUPTED) or self.asked is not None:
                break
        return code, error

    def _once(self) -> tuple[int, str]:
        if self._is_moved():  # the command would make the folder again, and begin from nothing
            return 2, ""
        command = self.sweep.command(self.work)
        log = log_file(self.sweep, self.work) if self.first else Path(os.devnull)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self.child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent)
            if self.asked is not None:  # the signal came before the command
                self.child.send_signal(signal.SIGTERM)
            code = self.child.wait()
        return code, last_line(log) if code >= 0 else f"killed by {signal.Signals(-code).name}; {last_line(log)}"

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)

    def _is_moved(self) -> bool:
        """Whether the plan's folder has been moved or removed since the job began: its record is not there."""
        return self.begun and not is_recorded(self.sweep, self.work)

    def _say(self, state: str, **values: Any) -> None:
        if not self.first:
            return
        if self._is_moved():
            logger.warning("%s: not recorded as %s: %s was moved or removed; start it again at the new place",
                           self.work.title, state, self.sweep.folder)  # fmt: skip
            return
        record(self.sweep, self.work, state=state, pid=os.getpid(), host=os.uname().nodename, **values)
        self.begun = True


def _end_with_parent() -> None:
    """On Linux, send SIGTERM to the command when the job dies: the command must not outlive it."""
    with contextlib.suppress(OSError, AttributeError):  # other systems
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def last_line(log: Path) -> str:
    """The last line of a log that is not empty; of a progress bar, its last state."""
    lines = end_of(log).replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")

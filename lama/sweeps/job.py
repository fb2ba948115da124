"""What a job of a sweep does: run its command, again where that crashed, and say how it went.

Signals are passed on, so that a training writes a checkpoint and ends with 75. Where a cluster's time is up (SIGUSR2,
by submitit), submitit's handler then puts the job into the queue again; where SLURM requeues by itself (SIGTERM) there
is nothing more to do. With several tasks each runs the same command, and Lightning joins them.
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
from lama.sweeps.plan import Sweep, Work
from lama.sweeps.state import DONE, FAILED, RUNNING, STOPPED, log_file, record

logger = logging.getLogger(__name__)


class Job:
    """One piece of a sweep, in the process that the launcher has started for it."""

    def __init__(self, sweep: Sweep, work: Work) -> None:
        self.sweep, self.work = sweep, work
        self.first = os.environ.get("SLURM_PROCID", "0") == "0"
        self.asked: int | None = None  # the signal that has come
        self.child: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Run it to its end. Raises SystemExit where a signal has stopped it, with the exit code of bin/train.py."""
        if self.first:
            logger.info("%s: output in %s", self.work.title, log_file(self.sweep, self.work))
        before = {number: signal.signal(number, self._pass_on) for number in stop_signals()}
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
                os.kill(os.getpid(), signal.SIGUSR2)  # submitit's handler puts the job into the queue again
            if self.first:
                logger.warning("%s: stopped; the same command goes on from its last checkpoint", self.work.title)
            sys.exit(INTERRUPTED if self.asked == signal.SIGINT else TRY_AGAIN)
        else:
            self._say(FAILED, error=error)

    def _attempts(self) -> tuple[int, str]:
        """The exit code of the last one, and the last line that it has said."""
        code, error = TRY_AGAIN, ""
        for attempt in range(1 + self.sweep.retries):
            self._say(RUNNING, attempt=attempt + 1)
            code = TRY_AGAIN
            while code == TRY_AGAIN and self.asked is None:  # a worker was killed, say, after a checkpoint
                code, error = self._once()
            if code in (0, TRY_AGAIN, INTERRUPTED) or self.asked is not None:
                break
        return code, error

    def _once(self) -> tuple[int, str]:
        command = self.sweep.command(self.work)
        log = log_file(self.sweep, self.work) if self.first else Path(os.devnull)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
            self.child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment,
                                          preexec_fn=_end_with_parent)  # fmt: skip
            if self.asked is not None:  # before there was somebody to pass it on to
                self.child.send_signal(signal.SIGTERM)
            code = self.child.wait()
        return code, last_line(log) if code >= 0 else f"killed by {signal.Signals(-code).name}; {last_line(log)}"

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)

    def _say(self, state: str, **values: Any) -> None:
        if self.first:
            record(self.sweep, self.work, state=state, pid=os.getpid(), host=os.uname().nodename, **values)


def _end_with_parent() -> None:
    """Have Linux ask the command to stop where the job is killed: nobody would know of it any more."""
    with contextlib.suppress(OSError, AttributeError):  # other systems
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def last_line(log: Path) -> str:
    """What a command has said before it ended; of a progress bar its last state."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")

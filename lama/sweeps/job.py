"""The jobs of a sweep, one after the other on this machine or as a job array on SLURM, through submitit.

A job runs its command, retries after a crash, and records the outcome. Signals are passed on to the command; a training
then writes a checkpoint and exits with 75. When the time of a job is up (SIGUSR2, from submitit), submitit's handler
then queues it again; when SLURM requeues a job itself (SIGTERM), nothing more is needed. If a job has several tasks,
each runs the same command, and Lightning connects them.
"""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from lama.runs.signals import INTERRUPTED, TRY_AGAIN, stop_signals
from lama.sweeps.plan import Sweep, Work, load
from lama.sweeps.state import DONE, FAILED, RUNNING, STOPPED, end_of, forget, log_file, record, submitted

logger = logging.getLogger(__name__)
SHARED = ("cpus_per_task", "mem_gb", "timeout_min")  # keys of launcher=slurm; submitit has them for every cluster
SLURM = ("partition", "signal_delay_s", "array_parallelism", "additional_parameters")  # submitit: slurm_KEY


class Job:
    def __init__(self, sweep: Sweep, work: Work) -> None:
        self.sweep, self.work = sweep, work
        self.first = os.environ.get("SLURM_PROCID", "0") == "0"
        self.asked: int | None = None  # the signal that has asked it to stop
        self.child: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Run the command to its end. Raises SystemExit, with the exit code of ``lama train``, if a signal stops it."""
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
                os.kill(os.getpid(), signal.SIGUSR2)  # submitit's handler queues the job again
            if self.first:
                logger.warning("%s: stopped; the same command continues from its last checkpoint", self.work.title)
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

    def _say(self, state: str, **values: Any) -> None:
        if self.first:
            record(self.sweep, self.work, state=state, pid=os.getpid(), host=os.uname().nodename, **values)


def _end_with_parent() -> None:
    """On Linux, send SIGTERM to the command when the job dies: the command must not outlive it."""
    with contextlib.suppress(OSError, AttributeError):  # other systems
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def last_line(log: Path) -> str:
    """The last line of a log that is not empty; of a progress bar, its last state."""
    lines = end_of(log).replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def launch(sweep: Sweep, works: Sequence[Work]) -> None:
    """Run ``works`` here, one after the other, or submit them to SLURM without waiting for them."""
    for one in works:
        forget(sweep, one)
    if sweep.launcher["name"] == "slurm":
        _submit(sweep, works)
    else:
        for one in works:
            Job(sweep, one).run()


def _submit(sweep: Sweep, works: Sequence[Work]) -> None:
    import submitit

    timeouts = sweep.launcher["max_num_timeout"]  # how often a job that has run out of time is queued again
    executor = submitit.AutoExecutor(sweep.folder.resolve() / "jobs/.submitit/%j", cluster="slurm",
                                     slurm_max_num_timeout=timeouts)  # fmt: skip
    executor.update_parameters(**resources(sweep.launcher, evaluating=works[0].kind == "evaluate"))
    jobs = executor.map_array(Task(), [str(sweep.folder.resolve())] * len(works), list(map(str, works)))
    for one, job in zip(works, jobs, strict=True):
        submitted(sweep, one, job.job_id)


def resources(launcher: dict[str, Any], evaluating: bool) -> dict[str, Any]:
    """The resources of each job as parameters of submitit; an evaluation takes one task on one node."""
    devices, nodes = (1, 1) if evaluating else (launcher["devices"], launcher["nodes"])
    names = {**{key: key for key in SHARED}, **{key: f"slurm_{key}" for key in SLURM}}
    given = {name: launcher[key] for key, name in names.items() if launcher[key] not in (None, {})}
    gpus = {"gpus_per_node": devices} if launcher["gpus"] else {}
    return given | gpus | {"name": "lama", "tasks_per_node": devices, "nodes": nodes}


class Task:
    """The callable that submitit pickles and calls in every task of a job."""

    def __call__(self, folder: str, work: str) -> None:
        Job(load(folder), Work.of(work)).run()

    def checkpoint(self, folder: str, work: str) -> Any:
        """For submitit, when the job's time is up: queue the same call again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, folder, work)

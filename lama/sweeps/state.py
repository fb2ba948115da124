"""States of the jobs of a sweep, from the files that they write into the sweep's folder and from SLURM's queue."""

import contextlib
import json
import logging
import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from lama.files import PARTIAL, read_json, write_text
from lama.sweeps.plan import Piece, Plan, Sweep, Work
from lama.sweeps.slurm import queue
from lama.verbs import typed

logger = logging.getLogger(__name__)
W = TypeVar("W", bound=Piece)

DONE, RUNNING, QUEUED, FAILED = "done", "running", "queued", "failed"
STOPPED, LOST, MISSING = "stopped", "lost", "not started"  # states that the same command starts again
UNFINISHED = (STOPPED, LOST, MISSING)
MANY = 200  # jobs: a longer table leaves out those that are done, queued or not started


@dataclass(frozen=True)
class State(Generic[W]):
    """How far one job is."""

    work: W
    state: str  # one of the above
    note: str = ""  # the last line of its error, or its progress


def record(sweep: Plan, work: Piece, **values: Any) -> None:
    """Write the state of a job to its JSON file; ``state`` is one of done, running, failed and stopped."""
    text = json.dumps(values | {"time": time.strftime("%Y-%m-%d %H:%M:%S")}, indent=1)
    write_text(_file(sweep, work, ".json"), f"{text}\n")


def is_recorded(sweep: Plan, work: Piece) -> bool:
    """Whether ``record`` has written a state of the job, and the file is still there."""
    return _file(sweep, work, ".json").is_file()


def submitted(sweep: Plan, jobs: Mapping[W, str]) -> None:
    """Note the number of each job in the cluster. For thousands: each file costs two operations, not five."""
    folder = sweep.folder / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    partial = f"{folder}/{PARTIAL}{os.getpid()}"
    for work, job in jobs.items():
        with open(partial, "w", encoding="utf-8") as file:
            file.write(f"{job}\n")
        os.replace(partial, f"{folder}/{_name(work)}.job")


def forget(sweep: Plan, works: Iterable[Piece]) -> None:
    """Remove the records of jobs that will be started again."""
    folder = sweep.folder / "jobs"
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    for name in (f"{_name(work)}{suffix}" for work in works for suffix in (".json", ".job")):
        if name in there:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{folder}/{name}")


def log_file(sweep: Plan, work: Piece) -> Path:
    return _file(sweep, work, ".log")


def states(sweep: Plan, works: Iterable[W]) -> list[State[W]]:
    """The state of each of ``works``, from its files and, on SLURM, from the queue.

    For thousands of jobs: the folder is listed once, the queue is asked once, and only files that exist are opened;
    one for a job that is done, failed or queued.
    """
    jobs = queue() if sweep.launcher["name"] == "slurm" else {}
    folder = sweep.folder / "jobs"
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    return [_state(sweep, work, jobs, there) for work in works]


def _state(sweep: Plan, work: W, jobs: Mapping[str, str], there: set[str]) -> State[W]:
    name = _name(work)
    recorded: dict[str, Any] = read_json(_file(sweep, work, ".json")) if f"{name}.json" in there else {}
    if recorded.get("state") == DONE:
        return State(work, DONE)
    if recorded.get("state") == FAILED:
        return State(work, FAILED, recorded["error"])
    job = _file(sweep, work, ".job").read_text(encoding="utf-8").strip() if f"{name}.job" in there else None
    if job is not None and job in jobs:
        running = jobs[job] in ("RUNNING", "COMPLETING")
        held = f", held by SLURM until scontrol release {job}" if jobs[job] == "HELD" else ""
        return State(work, RUNNING if running else QUEUED, _progress(sweep, work) if running else f"job {job}{held}")
    if recorded.get("state") == RUNNING and job is None and _is_alive(recorded):
        return State(work, RUNNING, _progress(sweep, work))
    if recorded.get("state") == STOPPED:
        return State(work, STOPPED, sweep.continues(work))
    if recorded or job is not None:
        which = f"job {job}" if job else f"process {recorded['pid']} of {recorded['host']}"
        ended = f"{which} has ended without a record (out of memory? cancelled?)"
        return State(work, LOST, f"{ended}; see {log_file(sweep, work)}")
    return State(work, MISSING)


def _progress(sweep: Plan, work: Piece) -> str:
    found = re.findall(r"epoch \d+ of \d+|\d+/\d+(?= \[)", end_of(log_file(sweep, work)))  # or a progress bar
    return found[-1] if found else ""


def end_of(log: Path) -> str:
    """The last 4000 bytes of a log as text; empty if it does not exist."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        return file.read().decode(errors="replace")


def _is_alive(recorded: dict[str, Any]) -> bool:
    """Whether the recorded process still runs; True if it is on another machine."""
    if recorded["host"] != os.uname().nodename:
        return True
    try:
        os.kill(recorded["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _file(sweep: Plan, work: Piece, suffix: str) -> Path:
    return sweep.folder / "jobs" / f"{_name(work)}{suffix}"


def _name(work: Piece) -> str:
    return str(work).replace("/", "-")


def table(found: Sequence[State[Any]]) -> str:
    """Text with a line for every job, and the number of jobs in each state.

    Of more than ``MANY`` jobs, those that are done, queued or not started are only counted.
    """
    shown = [one for one in found if len(found) <= MANY or one.state not in (DONE, QUEUED, MISSING)]
    width = max((len(one.work.title) for one in shown), default=0)
    kind = max((len(one.state) for one in shown), default=0)
    lines = [f"{one.work.title:{width}}  {one.state:{kind}}  {one.note}".rstrip() for one in shown]
    counts = {state: sum(one.state == state for one in found) for state in (DONE, RUNNING, QUEUED, FAILED, *UNFINISHED)}
    return "\n".join([*lines, f"{len(found)} in all: " + ", ".join(f"{n} {state}" for state, n in counts.items() if n)])


def say_next(sweep: Sweep, found: Sequence[State[Work]]) -> None:
    """Log the next commands for a sweep with trainings in the states ``found``."""
    if all(one.state == DONE for one in found):
        sets = ("", "") if sweep.evaluation["sets"] else (" SETS", f"; SETS: sets made by {typed('masks')}")
        command = f"{typed('sweep')} collect {shlex.quote(sweep.dir)}"
        logger.info("%s%s evaluates them and makes the tables%s", command, *sets)
    if any(one.state == FAILED for one in found):
        logger.info("%s resubmit %s starts the failed ones again", typed("sweep"), sweep.dir)

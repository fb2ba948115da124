"""States of the jobs of a sweep, from the files that they write into the sweep's folder and from SLURM's queue."""

import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lama.files import read_json, write_text
from lama.sweeps.plan import Sweep, Work
from lama.sweeps.slurm import queue

DONE, RUNNING, QUEUED, FAILED = "done", "running", "queued", "failed"
STOPPED, LOST, MISSING = "stopped", "lost", "not started"  # states that the same command starts again
UNFINISHED = (STOPPED, LOST, MISSING)


@dataclass(frozen=True)
class State:
    """How far one training or evaluation of a sweep is."""

    work: Work
    state: str  # one of the above
    note: str = ""  # the last line of its error, or its progress


def record(sweep: Sweep, work: Work, **values: Any) -> None:
    """Write the state of a job to its JSON file; ``state`` is one of done, running, failed and stopped."""
    text = json.dumps(values | {"time": time.strftime("%Y-%m-%d %H:%M:%S")}, indent=1)
    write_text(_file(sweep, work, ".json"), f"{text}\n")


def submitted(sweep: Sweep, work: Work, job: str) -> None:
    write_text(_file(sweep, work, ".job"), f"{job}\n")


def forget(sweep: Sweep, work: Work) -> None:
    for suffix in (".json", ".job"):
        _file(sweep, work, suffix).unlink(missing_ok=True)


def log_file(sweep: Sweep, work: Work) -> Path:
    return _file(sweep, work, ".log")


def states(sweep: Sweep, works: Iterable[Work]) -> list[State]:
    """The state of each of ``works``, from its folder and, on SLURM, from the queue."""
    jobs = queue() if sweep.launcher["name"] == "slurm" else {}
    return [_state(sweep, work, jobs) for work in works]


def _state(sweep: Sweep, work: Work, jobs: dict[str, str]) -> State:
    recorded: dict[str, Any] = read_json(_file(sweep, work, ".json"))
    name = _file(sweep, work, ".job")
    job = name.read_text(encoding="utf-8").strip() if name.is_file() else None
    if recorded.get("state") == DONE:
        return State(work, DONE)
    if recorded.get("state") == FAILED:
        return State(work, FAILED, recorded["error"])
    if job in jobs:
        running = jobs[job] in ("RUNNING", "COMPLETING")
        return State(work, RUNNING if running else QUEUED, _progress(sweep, work) if running else f"job {job}")
    if recorded.get("state") == RUNNING and job is None and _is_alive(recorded):
        return State(work, RUNNING, _progress(sweep, work))
    if recorded.get("state") == STOPPED:
        return State(work, STOPPED, "continues from its checkpoint" if has_checkpoint(sweep, work) else "starts anew")
    if recorded or job is not None:
        which = f"job {job}" if job else f"process {recorded['pid']} of {recorded['host']}"
        ended = f"{which} has ended without a record (out of memory? cancelled?)"
        return State(work, LOST, f"{ended}; see {log_file(sweep, work)}")
    return State(work, MISSING)


def has_checkpoint(sweep: Sweep, work: Work) -> bool:
    return any(sweep.run_dir(work).glob("checkpoints/*.ckpt"))


def _progress(sweep: Sweep, work: Work) -> str:
    found = re.findall(r"epoch \d+ of \d+", end_of(log_file(sweep, work)))
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


def _file(sweep: Sweep, work: Work, suffix: str) -> Path:
    return sweep.folder / "jobs" / f"{str(work).replace('/', '-')}{suffix}"


def table(found: list[State]) -> str:
    """Text with a line for every job, and the number of jobs in each state."""
    width = max(len(one.work.title) for one in found)
    kind = max(len(one.state) for one in found)
    lines = [f"{one.work.title:{width}}  {one.state:{kind}}  {one.note}".rstrip() for one in found]
    counts = {state: sum(one.state == state for one in found) for state in (DONE, RUNNING, QUEUED, FAILED, *UNFINISHED)}
    return "\n".join([*lines, f"{len(found)} in all: " + ", ".join(f"{n} {state}" for state, n in counts.items() if n)])

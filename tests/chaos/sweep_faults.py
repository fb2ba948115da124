"""The kinds of faults of a sweep on SLURM: of one job at an instant of its start, and of the whole cluster."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# Each kind is a function of the disturbed sweep (sweeps.Disturbed), the start of a job (a line of starts.jsonl) or None
# for the cluster, and random numbers. It returns the outcome in words, or "" if it came too late.


def requeued(it: Any, start: dict, rng: random.Random) -> str:
    return "" if it.slurm.ask("scontrol", "requeue", start["job"]) else "SIGTERM, then queued again"


def cancelled(it: Any, start: dict, rng: random.Random) -> str:
    if it.state(start) != "RUNNING":
        return ""
    it.slurm.ask("scancel", start["job"])
    return "vanished from the queue"


def command_killed(it: Any, start: dict, rng: random.Random) -> str:
    """SIGKILL to the training or the evaluation itself; its job starts it again, once."""
    return "SIGKILL, tried again by its job" if _send(it.child(start), signal.SIGKILL) else ""


def job_killed(it: Any, start: dict, rng: random.Random) -> str:
    return "SIGKILL, vanished from the queue" if it.state(start) and _send(start["pid"], signal.SIGKILL) else ""


def time_up(it: Any, start: dict, rng: random.Random) -> str:
    """The job stands still, as on a slow disk, until SLURM sends SIGUSR2 before its time ends; then it goes on."""
    if not _stands_still(it, start, seconds=45):
        return ""
    ends = time.monotonic() + 100
    while time.monotonic() < ends and not _pending(start["pid"], signal.SIGUSR2):
        time.sleep(0.2)
    heard = _pending(start["pid"], signal.SIGUSR2)
    for pid in (it.child(start), start["pid"]):
        _send(pid, signal.SIGCONT)
    return "SIGUSR2, then queued again" if heard else ""


def time_over(it: Any, start: dict, rng: random.Random) -> str:
    """The job stands still until SLURM kills it."""
    if not _stands_still(it, start, seconds=1):
        return ""
    ends = time.monotonic() + 150
    while time.monotonic() < ends and it.state(start):
        time.sleep(0.5)
    return "killed at the end of its time"


def preempted(it: Any, _: None, rng: random.Random) -> str:
    """A job of a partition that goes first takes the place of others."""
    before = it.slurm.ask("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i").split()
    said = it.slurm.ask("sbatch", "-p", "urgent", "-c", str(rng.choice([2, 4])), "-o", "/dev/null", "--wrap", "sleep 3")
    number = said.split()[-1]
    ends = time.monotonic() + 60
    while time.monotonic() < ends and it.slurm.ask("squeue", "-h", "-j", number, "-o", "%T").strip() == "PENDING":
        time.sleep(0.3)
    return "jobs of another partition went first" if before else ""


def controller_restarted(it: Any, _: None, rng: random.Random) -> str:
    it.slurm.controller.kill()
    it.slurm.controller.wait()
    time.sleep(seconds := rng.choice([0.5, 3, 10, 30]))
    it.slurm.start_controller()
    return f"SIGKILL, away for {seconds} seconds"


def node_daemon_restarted(it: Any, _: None, rng: random.Random) -> str:
    it.slurm.node_daemons[0].kill()
    it.slurm.node_daemons[0].wait()
    time.sleep(seconds := rng.choice([1, 4, 8]))
    it.slurm.node_daemons[0] = it.slurm.start_node(0)
    return f"SIGKILL, away for {seconds} seconds"


def node_lost(it: Any, _: None, rng: random.Random) -> str:
    """Until SLURM takes the node for dead and queues its jobs again, while their processes still run."""
    it.slurm.node_daemons[0].kill()
    it.slurm.node_daemons[0].wait()
    ends = time.monotonic() + 90
    while time.monotonic() < ends and "down" not in it.slurm.ask("sinfo", "-h", "-N", "-o", "%T"):
        time.sleep(0.5)
    it.slurm.node_daemons[0] = it.slurm.start_node(0)
    return "down, its jobs queued again"


def node_drained(it: Any, _: None, rng: random.Random) -> str:
    node = next(iter(it.slurm.nodes))
    it.slurm.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=chaos")
    time.sleep(seconds := rng.uniform(2, 15))
    it.slurm.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return f"drained for {seconds:.0f} seconds"


def folder_moved(it: Any, _: None, rng: random.Random) -> str:
    return it.move()


OF_JOBS = {"queued again": requeued, "cancelled": cancelled, "command killed": command_killed,
           "job killed": job_killed, "time is up": time_up, "time is over": time_over}  # fmt: skip
OF_CLUSTER = {"preempted": preempted, "controller restarted": controller_restarted,
              "node's daemon restarted": node_daemon_restarted, "node lost": node_lost, "node drained": node_drained,
              "folder moved": folder_moved}  # fmt: skip
WEIGHTS = {"queued again": 6, "cancelled": 4, "command killed": 6, "job killed": 4, "time is up": 4, "time is over": 2}


def _send(pid: int | None, number: int) -> bool:
    """Whether the process was there to get the signal."""
    with suppress(ProcessLookupError, FileNotFoundError):
        if pid is not None and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            os.kill(pid, number)
            return True
    return False


def _stands_still(it: Any, start: dict, seconds: int) -> bool:
    """Stop the processes of the job, and let its time end in so many seconds."""
    child = it.child(start)
    if child is None or not (_send(start["pid"], signal.SIGSTOP) and _send(child, signal.SIGSTOP)):
        _send(start["pid"], signal.SIGCONT)
        return False
    said = it.slurm.ask("scontrol", "update", f"JobId={start['job']}", f"EndTime=now+{seconds}")
    if said:
        for pid in (child, start["pid"]):
            _send(pid, signal.SIGCONT)
    return not said


def _pending(pid: int, number: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    sets = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(one >> (number - 1) & 1 for one in sets)

"""Ask SLURM for its partitions and its queue."""

import getpass
import re
import shutil
import subprocess
from typing import Any


def check(launcher: dict[str, Any]) -> None:
    """Raise ValueError if jobs cannot be submitted from here: no SLURM, no submitit, no such partition."""
    if shutil.which("sbatch") is None:
        raise ValueError("launcher=slurm: no sbatch on this machine; run this on a login node of the cluster, or use "
                         "launcher=local")  # fmt: skip
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise ValueError("launcher=slurm: needs submitit; pip install '.[cluster]'") from None
    partitions = {line.rstrip("*") for line in _ask("sinfo", "--noheader", "--format=%P").split()}
    wanted = launcher["partition"]
    if wanted is not None and not set(str(wanted).split(",")) <= partitions:
        raise ValueError(f"launcher.partition={wanted}: this cluster has {', '.join(sorted(partitions))}")


def longest_array() -> int:
    """The number of jobs that one array of this cluster may have; SLURM's default, 1001, where it does not say."""
    try:
        said = re.search(r"MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"))
    except ValueError:
        said = None
    return int(said[1]) if said and int(said[1]) > 0 else 1001


def queue() -> dict[str, str]:
    """{job: state} of the user's queued and running jobs; "12_3" is a job of an array.

    The state of a job that SLURM holds until ``scontrol release`` is "HELD".
    """
    user, columns = f"--user={getpass.getuser()}", "--format=%i %T %r"  # job, state, reason
    lines = _ask("squeue", "--noheader", "--array", user, columns).splitlines()
    found = [(*line.strip().split(maxsplit=2), "") for line in lines]
    return {job: "HELD" if "held" in reason.lower() else state for job, state, reason, *_ in found}


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"SLURM: {command[0]} does not answer ({error})") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"SLURM: {command[0]} failed: {last}")
    return done.stdout

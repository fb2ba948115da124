"""What SLURM has, and what it is doing."""

import getpass
import shutil
import subprocess
from typing import Any


def check(launcher: dict[str, Any]) -> None:
    """Raise ValueError where jobs could not be submitted from here: no SLURM, no launcher, no such partition."""
    if shutil.which("sbatch") is None:
        raise ValueError("launcher=slurm: no sbatch on this machine; submit where the cluster is logged into, or use "
                         "launcher=local")  # fmt: skip
    try:
        import submitit  # noqa: F401
        from hydra_plugins.hydra_submitit_launcher import submitit_launcher  # noqa: F401
    except ImportError:
        raise ValueError("launcher=slurm needs Hydra's submitit launcher: pip install -e '.[cluster]'") from None
    partitions = {line.rstrip("*") for line in _ask("sinfo", "--noheader", "--format=%P").split()}
    wanted = launcher["partition"]
    if wanted is not None and not set(str(wanted).split(",")) <= partitions:
        raise ValueError(f"launcher.partition={wanted}: this cluster has {', '.join(sorted(partitions))}")


def queue() -> dict[str, str]:
    """{job: its state} of one's own jobs that wait or run; "12_3" is a job of an array."""
    lines = _ask("squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i %T").splitlines()
    return {job: state for job, _, state in (line.strip().partition(" ") for line in lines)}


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"SLURM: {command[0]} does not answer ({error})") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"SLURM: {command[0]} failed: {last}")
    return done.stdout

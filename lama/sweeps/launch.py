"""Start the jobs of a sweep: one after the other on this machine, or as a job array on SLURM, through submitit."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from lama.sweeps import slurm
from lama.sweeps.folder import load_any
from lama.sweeps.job import Job
from lama.sweeps.plan import Piece, Plan
from lama.sweeps.state import forget, submitted

SHARED = ("cpus_per_task", "mem_gb", "timeout_min")  # keys of launcher=slurm; submitit has them for every cluster
SLURM = ("partition", "signal_delay_s", "array_parallelism", "additional_parameters")  # submitit: slurm_KEY

# SLURM sends SIGUSR2 before a job's time ends. During the imports nothing handles this signal, and the job would die.
# So this command starts Python with the signal blocked, and ``Job`` unblocks it once its handlers are set.
_HOLD = ("import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2}); "
         "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])")  # fmt: skip
PYTHON = f"{shlex.quote(sys.executable)} -c {shlex.quote(_HOLD)}"


def launch(sweep: Plan, works: Sequence[Piece]) -> None:
    """Run ``works`` here, one after the other, or submit them to SLURM without waiting for them."""
    forget(sweep, works)
    if sweep.launcher["name"] == "slurm":
        _submit(sweep, works)
    else:
        for one in works:
            Job(sweep, one).run()


def _submit(sweep: Plan, works: Sequence[Piece]) -> None:
    """Submit ``works`` in as few arrays as the cluster allows, all with the same resources; each is recorded at once.

    The arrays share ``array_parallelism``. Raises ValueError where SLURM refuses one, with the number of jobs that it
    has taken.
    """
    import submitit
    from submitit.core.utils import FailedJobError

    timeouts = sweep.launcher["max_num_timeout"]  # how often a job that has run out of time is queued again
    executor = submitit.AutoExecutor(sweep.folder.resolve() / "jobs/.submitit/%j", cluster="slurm",
                                     slurm_max_num_timeout=timeouts, slurm_python=PYTHON)  # fmt: skip
    given = resources(sweep.launcher, alone=works[0].kind != "train")
    longest = slurm.longest_array() if len(works) > 1 else 1
    for first in range(0, len(works), longest):
        some = works[first : first + longest]
        share = max(1, sweep.launcher["array_parallelism"] * len(some) // len(works))
        executor.update_parameters(**given | {"slurm_array_parallelism": share})
        try:
            jobs = executor.map_array(Task(), [str(sweep.folder.resolve())] * len(some), list(map(str, some)))
        except FailedJobError as error:
            reason = ([line for line in str(error).splitlines() if "error" in line] or [str(error)])[-1]
            raise ValueError(f"SLURM: sbatch has taken {first} of {len(works)} jobs, then refused: {reason}; the same "
                             "command submits the others") from error  # fmt: skip
        submitted(sweep, {one: job.job_id for one, job in zip(some, jobs, strict=True)})


def resources(launcher: dict[str, Any], alone: bool) -> dict[str, Any]:
    """The resources of each job as parameters of submitit; ``alone``, such as an evaluation: one task on one node."""
    devices, nodes = (1, 1) if alone else (launcher["devices"], launcher["nodes"])
    names = {**{key: key for key in SHARED}, **{key: f"slurm_{key}" for key in SLURM}}
    given = {name: launcher[key] for key, name in names.items() if launcher[key] not in (None, {})}
    gpus = {"gpus_per_node": devices} if launcher["gpus"] else {}
    return given | gpus | {"name": "lama", "tasks_per_node": devices, "nodes": nodes}


class Task:
    """The callable that submitit pickles and calls in every task of a job."""

    def __call__(self, folder: str, work: str) -> None:
        plan = load_any(folder)
        Job(plan, plan.piece(work)).run()

    def checkpoint(self, folder: str, work: str) -> Any:
        """For submitit, when the job's time is up: queue the same call again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, folder, work)

"""From a sweep to running jobs, by Hydra: its basic launcher here, its submitit launcher on SLURM."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from lama.config import CONFIGS, literal
from lama.sweeps.job import Job
from lama.sweeps.plan import Sweep, Work, load
from lama.sweeps.state import forget, submitted

RESOURCES = (  # of launcher=slurm, which Hydra's launcher knows by the same names
    "cpus_per_task", "mem_gb", "timeout_min", "partition", "signal_delay_s", "max_num_timeout", "array_parallelism",
    "additional_parameters",
)  # fmt: skip


def work(config: DictConfig) -> None:
    """What Hydra's launcher calls, in the process of the job."""
    sweep = load(config.dir)
    Job(sweep, Work.of(config.work)).run()


def launch(sweep: Sweep, works: Sequence[Work]) -> None:
    """Run them here, one after the other; or hand them to SLURM, and do not wait."""
    for one in works:
        forget(sweep, one)
    arguments = [literal(f"dir={sweep.folder.resolve()}", ["dir"]), f"work={','.join(map(str, works))}"]
    if sweep.launcher["name"] == "slurm":
        arguments += _slurm(sweep.launcher, evaluating=works[0].kind == "evaluate")
        with _submitted_only() as jobs:
            _hydra(arguments)
        for one, job in zip(works, jobs, strict=True):
            submitted(sweep, one, job)
    else:
        _hydra(arguments)


def _slurm(launcher: dict[str, Any], evaluating: bool) -> list[str]:
    """Hydra's overrides for the resources of a job; an evaluation takes one task on one node."""
    devices, nodes = (1, 1) if evaluating else (launcher["devices"], launcher["nodes"])
    resources = {name: launcher[name] for name in RESOURCES if launcher[name] not in (None, {})}
    resources |= {"tasks_per_node": devices, "nodes": nodes, "name": "lama"}
    if launcher["gpus"]:
        resources["gpus_per_node"] = devices
    return [
        "hydra/launcher=submitit_slurm",
        *(f"++hydra.launcher.{name}={_quoted(v)}" for name, v in resources.items()),
    ]


def _quoted(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_quoted(one)}" for name, one in value.items()) + "}"
    return f"'{value}'" if isinstance(value, str) else str(value)


def _hydra(arguments: list[str]) -> None:
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [before[0], "--multirun", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors are for whoever called, not for Hydra to print
    GlobalHydra.instance().clear()
    for name in ("hydra", "hydra_plugins"):
        logging.getLogger(name).setLevel(logging.WARNING)  # what it would say of each job, we say
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIGS / "sweep"), config_name="job")(work)()
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full


@contextmanager
def _submitted_only() -> Iterator[list[str]]:
    """Hydra's launcher submits jobs and waits for the last result, for days. Here it gets an empty one at once.

    Gives the names of the jobs, in their order.
    """
    from submitit.core.core import Job as Submitted

    jobs: list[str] = []

    def noted(job: Any) -> list[JobReturn]:
        jobs.append(job.job_id)
        result = JobReturn(status=JobStatus.COMPLETED)
        result.return_value = None
        return [result]

    results = Submitted.results
    setattr(Submitted, "results", noted)  # noqa: B010
    try:
        yield jobs
    finally:
        setattr(Submitted, "results", results)  # noqa: B010

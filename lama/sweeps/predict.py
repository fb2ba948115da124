"""Start the shards of a prediction as jobs, or those that are not finished: ``lama predict -m shards=64``."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from lama.config import flag
from lama.files import check_writable, remove_partial
from lama.machine.lock import only_one
from lama.pictures.prediction_jobs import PredictionPlan
from lama.pictures.prediction_set import PredictionSet
from lama.pictures.shard import number_of
from lama.sweeps import slurm
from lama.sweeps.divided import Read, at_work, divided
from lama.sweeps.launch import launch
from lama.sweeps.prediction import plan_of
from lama.sweeps.settings import keep, settings_of
from lama.sweeps.shards import Piece, Shards, place_of, results_of, save_shards
from lama.sweeps.state import DONE, QUEUED, RUNNING, record, states, table
from lama.verbs import typed

logger = logging.getLogger(__name__)


def start(arguments: Sequence[str], read: Read) -> None:
    """Start every shard with missing results that is neither running nor in the queue; on this machine, wait for them.

    A shard is finished when all of its results exist: files decide, whatever a job has recorded. Raises ValueError or
    FileNotFoundError for a mistake, before anything is started. Exits with 1 if results are missing at the end.
    """
    config, shards = divided("predict", arguments, read, partial(place_of, key="-m"))
    if flag(config, "overwrite"):
        raise ValueError("overwrite=true: not with -m, which computes missing results only; choose another outdir=")
    folder = shards.folder
    plan = plan_of(config, True)
    if shards.launcher["name"] == "slurm":
        slurm.check(shards.launcher)
    check_writable(folder, "outdir")
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder, "outdir", "command"):
        chosen = choose(shards, plan, config)
        if chosen:
            launch(shards, chosen)
    if not chosen or shards.launcher["name"] != "slurm":
        report(shards, plan_of(config, True))
    else:
        logger.info("%d shards submitted; they run without this terminal: %s status %s; the same command starts those "
                    "that do not finish", len(chosen), typed("sweep"), folder.parent)  # fmt: skip


def choose(shards: Shards, plan: PredictionPlan, config: Any) -> list[Piece]:
    """The shards to start, after the settings are stored; those whose results all exist are recorded as done.

    Raises ValueError if results of other settings exist, or jobs of other settings are at work.
    """
    busy = at_work(shards)
    keep(shards.folder, settings_of(config), results_of(config), lambda: bool(plan.skipped or busy))
    left = Counter(number_of(plan.found.name(job.item), shards.shards) for job in plan.jobs)
    if not busy:
        for folder in {os.path.dirname(item.out): item.out.parent for item in plan.found.items}.values():
            remove_partial(folder)  # of processes that were killed
    save_shards(shards)
    for piece in shards.pieces():
        if not left[piece.number] and piece.number not in busy:
            record(shards, piece, state=DONE)
    chosen = [piece for piece in shards.pieces() if left[piece.number] and piece.number not in busy]
    logger.info("%d of %d results exist; %d of %d shards to start, %d running or queued", plan.skipped,
                len(plan.found.items), len(chosen), shards.shards, len(busy))  # fmt: skip
    return chosen


def report(shards: Shards, plan: PredictionPlan) -> None:
    """Print how many results exist; exit with 1 if some are missing and no job is at work."""
    found: PredictionSet = plan.found
    now = states(shards, shards.pieces())
    print(f"{plan.skipped} of {len(found.items)} results are in {found.where}")
    if not plan.jobs:
        return
    print(table([one for one in now if one.state != DONE] or now), file=sys.stderr)
    if not any(one.state in (RUNNING, QUEUED) for one in now):
        logger.info("the same command starts the shards with missing results; their output: %s", shards.folder / "jobs")
        sys.exit(1)

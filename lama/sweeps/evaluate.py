"""Start every shard of an evaluation that is not finished, as a job: ``lama evaluate -m shards=64``."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lama.machine.lock import only_one
from lama.sweeps import slurm
from lama.sweeps.divided import Read, at_work, divided
from lama.sweeps.evaluation import Evaluation
from lama.sweeps.evaluation_shards import Pieces
from lama.sweeps.launch import launch
from lama.sweeps.shards import PLACE, Piece, Shards, save_shards
from lama.sweeps.state import DONE, record, states, table
from lama.verbs import typed

logger = logging.getLogger(__name__)


def start(arguments: Sequence[str], read: Read) -> None:
    """Start every shard that is neither finished nor running nor in the queue; on this machine, wait and write tables.

    Raises ValueError or FileNotFoundError for a mistake, before anything is started. Exits with 1 if one has failed.
    """
    config, shards = divided("evaluate", arguments, read, _place)
    pieces = Pieces(Evaluation(config), shards.shards)
    if shards.launcher["name"] == "slurm":
        slurm.check(shards.launcher)
    pieces.prepare()
    shards.folder.mkdir(parents=True, exist_ok=True)
    with only_one(shards.folder, "outdir", "command"):
        chosen = choose(shards, pieces)
        if chosen:
            launch(shards, chosen)
    if chosen and shards.launcher["name"] == "slurm":
        logger.info("%d shards submitted; they run without this terminal, and the last one writes the tables: %s "
                    "status %s; the same command starts those that do not finish", len(chosen), typed("sweep"),
                    pieces.outdir)  # fmt: skip
        return
    now = states(shards, shards.pieces())
    if not pieces.unfinished():
        print(pieces.collect())
        return
    print(table(now), file=sys.stderr)
    if not at_work(shards):
        logger.info(
            "the same command starts the shards that are not finished; their output: %s", shards.folder / "jobs"
        )
        sys.exit(1)


def choose(shards: Shards, pieces: Pieces) -> list[Piece]:
    """Store the settings, record finished shards as done, and return the other shards, which are to be started.

    Raises ValueError if pieces of other settings exist, or jobs of other settings are at work.
    """
    busy = at_work(shards)
    pieces.keep_settings(at_work=bool(busy))
    save_shards(shards)
    left = set(pieces.unfinished()) - busy
    for piece in shards.pieces():
        if piece.number not in left | busy:
            record(shards, piece, state=DONE)
    empty = sum(not pieces.portions(number) for number in range(shards.shards))
    without = f"; {empty} without images: the set has only {shards.shards - empty} batches" if empty else ""
    logger.info("%d of %d shards to start, %d running or queued%s", len(left), shards.shards, len(busy), without)
    return [piece for piece in shards.pieces() if piece.number in left]


def _place(config: Any) -> Path:
    return Path(str(config.outdir)).expanduser() / PLACE

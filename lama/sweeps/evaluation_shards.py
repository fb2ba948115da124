"""An evaluation in shards: each writes one piece, and the last one the tables, as a single process would."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lama
from lama.evaluation.pieces import include, key_of, write_piece
from lama.evaluation.tables import versions
from lama.files import read_json, remove_partial, sha256_of, write_text
from lama.machine.lock import only_one
from lama.pictures.shard import Shard
from lama.sweeps import settings
from lama.sweeps.evaluation import Evaluation
from lama.sweeps.settings import EVALUATION, WAIT
from lama.sweeps.shards import PIECES, PLACE, held

logger = logging.getLogger(__name__)
RECORD = "written.json"  # the pieces that the tables in the folder are made from


class Pieces:
    """The pieces of an evaluation in ``shards`` shards: shard k measures portions k, k + shards, k + 2 shards, ...

    The shard of a portion is fixed, and so are the batches: every number is computed as in a single process.
    """

    def __init__(self, evaluation: Evaluation, shards: int) -> None:
        Shard(0, shards)  # raises for a number that is none
        self.evaluation, self.shards = evaluation, shards
        self.outdir = Path(str(evaluation.config.outdir)).expanduser()
        self.folder, self.where = self.outdir / PLACE, f"outdir={evaluation.config.outdir}"
        evaluator = evaluation.evaluator
        self.settings = settings.settings_of(evaluation.config, EVALUATION) | {
            "model_sha256": evaluation.model_sha256(),
            "weights_sha256": dict(evaluator.weights_sha256),
            "not_available": dict(evaluator.unavailable),
            "versions": {"lama": lama.__version__, **versions()},
        }

    def file(self, number: int) -> Path:
        return self.folder / PIECES / f"{number}-of-{self.shards}.npz"

    def portions(self, number: int) -> list[list[int]]:
        return self.evaluation.portions[number :: self.shards]

    def key(self, number: int) -> str:
        """A hash of the settings and of the shard's files: names, sizes, times. A valid piece stores the same hash."""
        files = [file for portion in self.portions(number) for i in portion for file in self.evaluation.files[i]]
        stats = [(name, (one := file.stat()).st_size, one.st_mtime_ns) for name, file in files]
        return hashlib.sha256(json.dumps([self.settings, stats], sort_keys=True).encode()).hexdigest()

    def finished(self, number: int) -> bool:
        """Whether the piece exists, with these settings and files. A shard without a portion needs none."""
        return not self.portions(number) or key_of(self.file(number)) == self.key(number)

    def unfinished(self) -> list[int]:
        return [number for number in range(self.shards) if not self.finished(number)]

    def prepare(self) -> None:
        """Raise FileExistsError if the folder holds an evaluation of another origin, unless it may be replaced."""
        self.evaluation.prepare(overwrite=self._recorded() is not None)

    def keep_settings(self, own_lock: Path | None = None, at_work: bool = False) -> None:
        """Store the settings. Raises ValueError for others while pieces exist or a shard is at work.

        With ``overwrite`` of the configuration pieces are no obstacle. ``at_work``: jobs run or wait in a queue.
        """

        def begun() -> bool:
            overwrite = self.evaluation.config.overwrite or settings.read(self.folder) is None
            return at_work or (not overwrite and any((self.folder / PIECES).glob("*-of-*.npz")))

        settings.keep(self.folder, self.settings, self.where, begun, own_lock, EVALUATION)

    def measure(self, number: int) -> int:
        """Measure one shard and write its piece; returns its number of images."""
        key = self.key(number)  # before the files are read: a file that changes later makes the piece invalid
        images = self.evaluation.measure(self.portions(number))
        write_piece(self.file(number), self.evaluation.evaluator, key)
        for line in self.evaluation.notices.counted():
            logger.warning(line)
        return images

    def collect(self) -> str:
        """Write the tables from all pieces, unless that is done; returns the text to print.

        Raises ValueError if a shard is not finished or the pieces have other settings.
        """
        before = settings.read(self.folder)
        if before is not None and before != self.settings:
            settings.check(before, self.settings, self.where, EVALUATION)
        left = self.unfinished()
        if left:
            first = f"shard={left[0]} shards={self.shards}"
            raise ValueError(
                f"{self.where}: {_count(left, self.shards)}; the same command with {first} measures "
                f"the first of them, with -m shards={self.shards} all of them"
            )
        place = self.folder / settings.LOCKS / "results"
        place.mkdir(parents=True, exist_ok=True)
        with only_one(place, "outdir", "command", self.evaluation.config.outdir, WAIT):
            if self._recorded() == self._keys():
                table = (self.outdir / "table.md").read_text(encoding="utf-8")
                return f"{table}{self.where}: holds the evaluation of these {self.shards} shards"
            self.prepare()
            return self._write()

    def _write(self) -> str:
        evaluation = self.evaluation
        not_followed = evaluation.not_followed()
        evaluation.evaluator.reset()
        evaluation.evaluator.store.computed = evaluation.evaluator.store.remembered = 0
        for number in range(self.shards):
            if self.portions(number):
                include(evaluation.evaluator, self.file(number))
        text = evaluation.write(not_followed)
        record = {"keys": self._keys(), "metrics_sha256": sha256_of(self.outdir / "metrics.json")}
        write_text(self.folder / RECORD, json.dumps(record, indent=1) + "\n")
        remove_partial(self.folder / PIECES)  # of processes that were killed
        return text

    def _keys(self) -> list[str]:
        return [self.key(number) for number in range(self.shards)]

    def _recorded(self) -> Any:
        """The keys of the pieces that the tables in the folder are made from; None if others have written them."""
        record, metrics = read_json(self.folder / RECORD), self.outdir / "metrics.json"
        if not metrics.is_file() or record.get("metrics_sha256") != sha256_of(metrics):
            return None
        return record.get("keys")


def one_shard(evaluation: Evaluation, shard: Shard) -> str:
    """Measure a shard, unless it is finished; the last one writes the tables. Returns the text to print.

    Raises ValueError if another process measures this shard, or other shards have other settings.
    """
    pieces = Pieces(evaluation, shard.shards)
    pieces.prepare()
    with held(pieces.folder, shard, EVALUATION) as lock:
        pieces.keep_settings(lock)
        if pieces.finished(shard.number):
            said = "finished already"
        else:
            said = f"{pieces.measure(shard.number)} images measured"
    left = pieces.unfinished()
    if left:
        return f"{shard}: {said}; {_count(left, shard.shards)}"
    return f"{shard}: {said}\n{pieces.collect()}"


def _count(left: Sequence[int], shards: int) -> str:
    """``5 of 64 shards are not finished (3, 7, 8, ...)``."""
    return (
        f"{len(left)} of {shards} shards are not finished ({', '.join(map(str, left[:3]))}{', ...' * (len(left) > 3)})"
    )

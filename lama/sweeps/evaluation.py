"""An evaluation as its configuration asks for it: opened and checked, then measured, whole or in parts."""

import logging
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import lama
from lama.checkpoints.identity import identify
from lama.config import build, flag
from lama.data.evaluation_set import PairFolder, PredictionFolder, batches_by_size
from lama.data.portions import portions
from lama.evaluation.baselines import find_baseline
from lama.evaluation.report import measure, write_evaluation
from lama.evaluation.tables import prepare
from lama.interfaces import EvaluationPair, ImageArray
from lama.machine.device import pick_device
from lama.pictures.notices import Notices
from lama.pictures.pairing import name_below

logger = logging.getLogger(__name__)


class Evaluation:
    """A set, predictions for it, and the evaluator. Nothing is computed or written before ``measure`` and ``write``.

    Raises ValueError or FileNotFoundError for a mistake in ``config``, the configuration of ``lama evaluate``.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        sources = {"predictdir": config.predictdir, "model.path": config.model.path, "baseline": config.baseline}
        given = [name for name, value in sources.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of {', '.join(sources)}; got {' and '.join(given) or 'none'}")
        if config.batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {config.batch_size}")
        self.source, self.predictions = given[0], str(sources[given[0]])
        self.benchmark = build(config.protocol, "protocol")
        config.metrics = self.benchmark.available(config.metrics)
        masks, self.notices = build(config.mask, "mask"), Notices()
        self.pairs = PairFolder(config.indir, None, masks, self.notices, config.white, config.truth)
        self.completed = None if config.predictdir is None else PredictionFolder(config.predictdir, self.pairs)
        self.fill = None if config.baseline is None else find_baseline(config.baseline)
        self.device = pick_device(config.device)
        self.evaluator = build(config.evaluator, "evaluator")

    def prepare(self, overwrite: bool = False) -> None:
        """Make the output folder. Raises FileExistsError if it holds an evaluation that must not be replaced."""
        given = self.config
        prepare(given.outdir, overwrite or flag(given, "overwrite"), keep_apart=(given.indir, given.predictdir))

    @cached_property
    def portions(self) -> list[list[int]]:
        """Indices of the pairs that are computed together, as ``lama.data.portions`` divides them."""
        return portions(self.pairs, self.config.batch_size)

    def complete(self, batch: Sequence[EvaluationPair]) -> list[ImageArray]:
        """The predictions for pairs of one size, each uint8 (H, W, 3)."""
        if self.completed is not None:
            return self.completed.read(batch)
        if self.fill is not None:
            return [self.fill(pair.image, pair.mask) for pair in batch]
        filled: list[ImageArray] = self._inpainter.many([pair.image for pair in batch], [pair.mask for pair in batch])
        return filled

    @cached_property
    def _inpainter(self) -> Any:
        """The plain network on the whole image: numbers do not depend on the memory of a machine."""
        return lama.load(self.config.model.path, self.config.device, strategy="full", fast=False, detail="off")

    def measure(self, some: Iterable[list[int]]) -> int:
        """Give the pairs of ``some`` portions to the evaluator, with a progress bar; returns their number."""
        some = list(some)
        for name in self.evaluator.unread:
            logger.warning("weights.%s is not used: the metrics are %s", name, ", ".join(self.evaluator.metrics))
        if some and self.source == "model.path":
            self._inpainter  # noqa: B018  a missing network is an error before the first image
        batches = chain.from_iterable(
            batches_by_size((self.pairs[i] for i in portion), self.complete, self.config.batch_size) for portion in some
        )
        images = sum(map(len, some))
        measure(self.evaluator, batches, images, self.device)
        return images

    def model_sha256(self) -> str | None:
        """Of the network's file; None without a network."""
        model = identify(self.config.model.path)
        return None if model is None else str(model["sha256"])

    def not_followed(self) -> list[str]:
        """A line, also logged, for each part of the protocol that this evaluation does not follow."""
        return self.benchmark.not_followed(self.pairs, self.evaluator)

    def write(self, not_followed: list[str]) -> str:
        """Write report.html, metrics.json and the tables; returns the text to print."""
        configuration: Any = OmegaConf.to_container(self.config, resolve=True)
        what = {"indir": str(self.config.indir), "images": len(self.pairs)}
        what |= {"configuration": configuration | {"shard": None, "shards": None}, "predictions_by": self.source}
        what |= {"benchmark": self.benchmark.name, "not_followed": not_followed}
        what |= {"predictions": self.predictions, "model": identify(self.config.model.path)} | self.pairs.report()
        return write_evaluation(self.config.outdir, self.evaluator, what, self._example)

    def _example(self, name: str) -> tuple[ImageArray, Any, ImageArray]:
        pair = self.pairs.named(name)
        return pair.truth, pair.mask, self.complete([pair])[0]

    @cached_property
    def files(self) -> list[list[tuple[str, Path]]]:
        """Of each pair, the files that it and its prediction are read from, with their names below their folder."""
        pairs, root = self.pairs, self.pairs.root
        files = [[(name_below(root, path), path) for path in both] for both in pairs.paths]
        for own, (image, _), name in zip(files, pairs.paths, pairs.names, strict=True):
            if image in pairs.clean_plates:
                own.append((name_below(root, pairs.clean_plates[image]), pairs.clean_plates[image]))
            if self.completed is not None:
                own.append((name, self.completed.by_name[name]))
        return files

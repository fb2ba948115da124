"""All metrics of an evaluation set, measured in one pass over it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
from numpy.typing import NDArray
from torch import Tensor

from lama import pretrained
from lama.evaluation.cache import Rows, Store, content_of, is_8_bit
from lama.evaluation.features import NETWORKS
from lama.evaluation.groups import GROUPINGS, members
from lama.evaluation.metrics import METRICS, families, measures_sets, metric_names, weight_files, with_parts
from lama.evaluation.protocol import find_protocol
from lama.evaluation.statistics import summary
from lama.evaluation.transformers import MissingPackageError
from lama.files import sha256_of
from lama.interfaces import DerivedMetric, ImageMetric, SetFeatures
from lama.machine.device import float32
from lama.machine.ranks import gather_rows

logger = logging.getLogger(__name__)
Weights = dict[str, str | None]
Result = dict[str, Any]  # {"mean", "std"?, "ci95"?, "n"}, or {"mean": None, "n", "note"}


class Evaluator:
    """Named metrics under a named protocol. Metrics with missing weight files are reported as not available.

    Raises ValueError for an unknown metric, preset, protocol or grouping, FileNotFoundError for an explicit weight path
    that does not exist.
    """

    def __init__(
        self,
        metrics: Sequence[str] | str,  # names of evaluation.metrics.METRICS, or one of its PRESETS
        weights: Weights | None = None,  # paths of third-party weights; None = look in the cache
        protocol: str = "lama",
        grouping: str = "lama",  # a name of evaluation.groups.GROUPINGS
        cache: str | None = None,  # a file that keeps features by image content; None = for this run only
        min_images: int = 100,  # metrics of whole sets, such as FID, are not available for fewer images
        intervals: bool = True,  # bootstrap 95 % intervals
    ) -> None:
        self.metrics = metric_names(metrics)
        self.protocol = find_protocol(protocol)
        if grouping not in GROUPINGS:
            raise ValueError(f"grouping={grouping}: unknown; known: {', '.join(GROUPINGS)}")
        if min_images < 2:
            raise ValueError(f"min_images={min_images}: expected at least 2 images")
        self.grouping, self.min_images, self.intervals = grouping, min_images, intervals
        self.unavailable: dict[str, str] = {}
        self._missing: dict[str, str] = {}  # metric: its missing weight file
        self.weights_sha256: dict[str, str] = {}
        self.store = Store(cache)
        self.scorers: dict[str, ImageMetric] = {}  # by family: its first metric scores for all of them
        self.members: dict[str, list[str]] = {}
        self.networks: dict[str, Any] = {}  # of set metrics: images -> vectors
        needed = with_parts(self.metrics)
        for family, names in families(needed).items():
            scorer = self._available(names, partial(self._make_scorer, names[0], weights or {}))
            if scorer is not None:
                self.scorers[family], self.members[family] = scorer, names
        self.of_sets = list(filter(measures_sets, needed))
        for key in dict.fromkeys(METRICS[name].network for name in self.of_sets):
            names = [name for name in self.of_sets if METRICS[name].network == key]
            network = self._available(names, partial(self._make_network, key, names[0], weights or {}))
            if network is not None:
                self.networks[key] = network
        for name in self.metrics:
            reasons = [self.unavailable[part] for part in with_parts([name]) if part in self.unavailable]
            self.unavailable |= {name: reasons[0]} if reasons else {}
        self._note_files(weights or {})
        if self._missing:
            files = list(dict.fromkeys(self._missing.values()))
            logger.warning("not available, for their weight files are missing: %s; %s", ", ".join(self._missing),
                           pretrained.how_to_get(files))  # fmt: skip
        self.reset()

    def _make_scorer(self, name: str, weights: Weights) -> Any:
        files = {key: pretrained.require(key, weights.get(key), download=False) for key in weight_files([name])}
        scorer = METRICS[name](*map(str, files.values()))
        self.weights_sha256 |= {key: sha256_of(file) for key, file in files.items()}
        return scorer

    def _make_network(self, key: str, metric: str, weights: Weights) -> Any:
        [file] = weight_files([metric])
        network = NETWORKS[key](weights.get(file), self.protocol, self.store)
        self.weights_sha256[file] = network.sha256
        return network

    def _note_files(self, weights: Weights) -> None:
        """Note the files that no metric reads (a loss may read them), and those that are not the published ones."""
        given = {name: Path(path).expanduser() for name, path in weights.items() if path is not None}
        self.unread = [name for name in given if name not in self.weights_sha256]
        self.unpublished = [
            name for name, file in given.items() if name not in self.unread and not pretrained.is_published(name, file)
        ]

    def _available(self, names: list[str], make: Callable[[], Any]) -> Any:
        """The result of ``make``, or None where its weights or its package are missing."""
        try:
            return make()
        except (pretrained.MissingWeightsError, MissingPackageError) as error:
            reason = f"{error.missing_file} is missing" if isinstance(error, FileNotFoundError) else str(error)
            self.unavailable |= dict.fromkeys(names, f"not available: {reason}")
            if isinstance(error, pretrained.MissingWeightsError):
                self._missing |= dict.fromkeys(names, error.key)
            else:
                logger.warning("%s: not available: %s", ", ".join(names), error)
        return None

    @staticmethod
    def preflight(metrics: Sequence[str] | str, weights: Weights | None = None, **_: Any) -> None:
        """Find or download every weight file. Raises FileNotFoundError if one cannot be downloaded."""
        for file in weight_files(metric_names(metrics)):
            pretrained.require(file, (weights or {}).get(file))

    def why_not(self, metric: str, images: int) -> str | None:
        """Why ``metric`` is not available on a set of ``images`` images; None if it is."""
        if metric not in self.metrics:
            return "not measured in this run"
        if metric in self.unavailable:
            return self.unavailable[metric]
        if any(map(measures_sets, with_parts([metric]))) and images < self.min_images:
            return _too_few(images, self.min_images)
        return None

    def reset(self) -> None:
        self.names: list[str] = []
        self.areas: list[float] = []  # each image's share of hole pixels, 0..1
        self.sizes: set[tuple[int, int]] = set()  # (H, W) of the images
        self.scores: dict[str, list[float]] = {name: [] for names in self.members.values() for name in names}
        self.features = {key: (Rows(), Rows()) for key in self.networks}  # of the completed and of the true images

    def update(self, names: list[str], completed: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add B images: their names, (B, 3, H, W) in [0, 1] twice, mask (B, 1, H, W). Raises ValueError for NaN."""
        if not completed.isfinite().all():
            raise ValueError(f"{', '.join(names)}: the prediction holds NaN or infinity")
        self.names += names
        self.sizes.add((target.shape[2], target.shape[3]))
        self.areas += mask.double().flatten(1).mean(dim=1).tolist()
        with torch.no_grad(), float32():
            for family, names in self.members.items():
                columns = self._score(family, completed, target, mask)
                for name in names:
                    self.scores[name] += columns[getattr(METRICS[name], "column", 0)]
            for key, network in self.networks.items():
                for rows, images in zip(self.features[key], (completed, target), strict=True):
                    rows.add(network(images))

    def _score(self, family: str, completed: Tensor, target: Tensor, mask: Tensor) -> list[list[float]]:
        """K columns of scores of B images. If the family has weight files, scores are stored by the images' content."""
        files, scorer = weight_files(self.members[family][:1]), self.scorers[family]
        score: Any = getattr(scorer, "scores", lambda *images: scorer.score(*images)[:, None])
        if not (files and is_8_bit(completed) and is_8_bit(target)):
            return score(completed, target, mask).T.tolist()
        contents = [b"".join(parts) for parts in zip(*map(content_of, (completed, target, mask)), strict=True)]
        compute = lambda i: score(completed[i], target[i], mask[i]).cpu().numpy()  # noqa: E731
        extractor = " ".join([family, *(self.weights_sha256[file] for file in files)])
        return self.store.get(extractor, contents, compute).T.astype(float).tolist()

    def gather(self) -> None:
        """Merge the images of all processes of a distributed run, on each process; do nothing in a single process."""
        if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
            return
        seen: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(seen, (self.names, self.areas, self.sizes, self.scores))
        gathered = {
            key: [gather_rows(torch.from_numpy(rows.array)) for rows in both] for key, both in self.features.items()
        }
        self.reset()
        for key, both in gathered.items():
            for rows, parts in zip(self.features[key], both, strict=True):
                for part in filter(len, parts):
                    rows.add(part.numpy())
        for names, areas, sizes, scores in seen:
            self.include(names, areas, sizes, scores, {})

    def include(
        self,
        names: list[str],
        areas: list[float],
        sizes: set[tuple[int, int]],
        scores: dict[str, list[float]],
        features: Mapping[str, Sequence[NDArray[np.float32]]],  # by network, of the completed and of the true images
    ) -> None:
        """Add images that another evaluator of the same metrics has measured."""
        self.names += names
        self.sizes |= sizes
        self.areas += areas
        for name, values in scores.items():
            self.scores[name] += values
        for key, both in features.items():
            for rows, part in zip(self.features[key], both, strict=True):
                if len(part):
                    rows.add(part)

    def compute(self) -> dict[str, Result]:
        """{metric: {"mean", "std", "ci95", "n"}} over all images; with "note" for a metric that is not available."""
        if not self.names:
            raise ValueError("evaluation: no image was evaluated")
        empty = sum(area == 0 for area in self.areas)
        if empty:
            logger.warning(
                "%d of %d images have an empty mask; metrics of the hole leave them out", empty, len(self.names)
            )
        self._sort()
        return self._of(np.arange(len(self.names)))

    def compute_groups(self) -> dict[str, dict[str, Result]]:
        """``compute`` for each group of images by the area of their masks."""
        self._sort()
        return {name: self._of(index) for name, index in members(GROUPINGS[self.grouping](self.areas)).items()}

    def per_image(self) -> list[dict[str, Any]]:
        """One row per image: its name, the area of its mask, and its score by each ``ImageMetric``."""
        self._sort()
        columns = [name for name in self.metrics if name in self.scores]
        return [
            {"name": self.names[i], "mask_area": self.areas[i]} | {name: self.scores[name][i] for name in columns}
            for i in range(len(self.names))
        ]

    def _sort(self) -> None:
        """Sort the images by name: results do not depend on batches and workers."""
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        if order == list(range(len(order))):
            return
        for values in (self.names, self.areas, *self.scores.values()):
            values[:] = [values[i] for i in order]  # type: ignore[index]
        for rows in (rows for both in self.features.values() for rows in both):
            if len(rows):
                rows.sort(order)

    def _of(self, index: NDArray[np.intp]) -> dict[str, Result]:
        """Every metric of the images with these indices."""
        results: dict[str, Result] = {}
        for name, scores in self.scores.items():
            results[name] = self._mean(np.asarray(scores, np.float64)[index])
        for key, both in self.features.items():
            everything = len(index) == len(self.names)
            results |= self._of_sets(key, *(rows.array if everything else rows.array[index] for rows in both))
        for name in self.metrics:
            if hasattr(METRICS[name], "parts") and name not in self.unavailable:
                results[name] = _derived(METRICS[name], [results[part] for part in METRICS[name].parts])
        results |= {name: {"mean": None, "n": 0, "note": note} for name, note in self.unavailable.items()}
        return {name: results[name] for name in self.metrics}

    def _mean(self, scores: NDArray[np.float64]) -> Result:
        scores = scores[~np.isnan(scores)]  # an image without a hole has no score inside it
        if len(scores) == 0:
            return {"mean": None, "n": 0, "note": "not available: no image has a hole"}
        return summary(scores, self.intervals)

    def _of_sets(self, key: str, fake: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, Result]:
        """Every metric of the network ``key``."""
        n, names = len(fake), [name for name in self.of_sets if METRICS[name].network == key]
        if n < self.min_images:
            return {name: {"mean": None, "n": n, "note": _too_few(n, self.min_images)} for name in names}
        features = SetFeatures(fake, real, self.protocol.covariance)
        return {name: METRICS[name]().measure(features, self.intervals) for name in names}


def _too_few(images: int, least: int) -> str:
    return f"not available: {images} images are too few ({least})"


def _derived(metric: type[DerivedMetric], parts: Sequence[Result]) -> Result:
    """A derived metric from the results of its parts; not available if one of them is not."""
    n = min(part["n"] for part in parts)
    notes = [part["note"] for part in parts if part["mean"] is None]
    if notes:
        return {"mean": None, "n": n, "note": notes[0]}
    return {"mean": metric().combine(*(part["mean"] for part in parts)), "n": n}

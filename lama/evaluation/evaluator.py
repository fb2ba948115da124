"""Everything that is measured on an evaluation set, in one pass over it."""

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
from lama.evaluation.dots import PERIODS, Dots
from lama.evaluation.features import Rows, Store, content_of, is_8_bit
from lama.evaluation.fid import frechet_distance
from lama.evaluation.groups import GROUPINGS, members
from lama.evaluation.ids import discriminative_scores
from lama.evaluation.kid import kernel_distance
from lama.evaluation.pixel import L1, PSNR
from lama.evaluation.protocol import find_protocol
from lama.evaluation.ssim import SSIM, ScikitImageSSIM
from lama.evaluation.statistics import mean_interval, set_interval
from lama.interfaces import Metric

logger = logging.getLogger(__name__)
Weights = dict[str, str | None]
Result = dict[str, Any]  # {"mean", "std"?, "ci95"?, "n"}, or {"mean": None, "n", "note"}


def _lpips(trunk: str) -> Callable[[Weights], Metric]:
    def make(weights: Weights) -> Metric:
        from lama.evaluation.lpips import LPIPS

        return LPIPS(trunk, weights.get(f"lpips_{trunk}"))

    return make


PER_IMAGE: dict[str, Callable[[Weights], Metric]] = {
    "psnr_hole": lambda _: PSNR(hole_only=True),
    "ssim_hole": lambda _: SSIM(hole_only=True),
    "l1_hole": lambda _: L1(hole_only=True),
    "psnr": lambda _: PSNR(),
    "ssim": lambda _: SSIM(),
    "ssim_skimage": lambda _: ScikitImageSSIM(),
    "l1": lambda _: L1(),
    "lpips_vgg": _lpips("vgg"),
    "lpips_alex": _lpips("alex"),
    "lpips_squeeze": _lpips("squeeze"),
    **{f"dots_{period}": partial(lambda period, _: Dots(period), period) for period in PERIODS},
}
OF_SETS = ("fid", "kid", "p_ids", "u_ids")  # of the Inception features of all pictures together
INTEGRAL = {"ssim_fid100_f1": "ssim", "lpips_fid100_f1": "lpips_vgg"}  # LaMa's checkpoint selectors, each beside FID
METRICS = (*PER_IMAGE, *OF_SETS, *INTEGRAL)
PRESETS = {
    "quick": ["psnr_hole", "ssim_hole", "l1_hole", "psnr", "ssim", "l1"],
    "paper": ["fid", "lpips_vgg", "ssim", "lpips_fid100_f1", "psnr_hole", "ssim_hole", "l1_hole", "psnr", "l1"],
    "full": list(METRICS),
}


class Evaluator:
    """Named metrics under a named protocol. A metric whose weights are not on this machine is reported as missing.

    Raises ValueError for an unknown metric, preset, protocol or grouping, FileNotFoundError for an explicit weight path
    that does not exist.
    """

    def __init__(
        self,
        metrics: Sequence[str] | str,  # names, or one of PRESETS
        weights: Weights | None = None,  # paths of third-party weights; None = look in the cache
        protocol: str = "lama",
        grouping: str = "lama",  # of evaluation.groups.GROUPINGS
        cache: str | None = None,  # a file that remembers features by content; None = for this run only
        min_pictures: int = 100,  # below so many pictures FID, KID, P-IDS and U-IDS are no numbers
        intervals: bool = True,  # bootstrap 95 % intervals
    ) -> None:
        self.metrics = _names(metrics)
        self.protocol = find_protocol(protocol)
        if grouping not in GROUPINGS:
            raise ValueError(f"grouping={grouping}: unknown; known: {', '.join(GROUPINGS)}")
        if min_pictures < 2:
            raise ValueError(f"min_pictures={min_pictures}: expected at least 2 pictures")
        self.grouping, self.min_pictures, self.intervals = grouping, min_pictures, intervals
        self.needed = needed = _parts(self.metrics)
        self.unavailable: dict[str, str] = {}
        self.scorers: dict[str, Metric] = {}
        for name in (name for name in PER_IMAGE if name in needed):
            scorer = self._available([name], partial(PER_IMAGE[name], weights or {}))
            self.scorers |= {} if scorer is None else {name: scorer}
        self.weights_sha256 = {n: s.sha256 for n, s in self.scorers.items() if hasattr(s, "sha256")}
        self.store = Store(cache)
        self.inception: Any = None
        of_sets = [name for name in OF_SETS if name in needed]
        if of_sets:
            self.inception = self._available(of_sets, lambda: self._make_inception(weights or {}))
            self.weights_sha256 |= {} if self.inception is None else {"fid_inception": self.inception.sha256}
        self._remark(weights or {})
        for name in (name for name in self.metrics if name in INTEGRAL):
            missing = next((part for part in (INTEGRAL[name], "fid") if part in self.unavailable), None)
            self.unavailable |= {} if missing is None else {name: self.unavailable[missing]}
        self.reset()

    def _make_inception(self, weights: Weights) -> Any:
        from lama.evaluation.inception import Inception

        return Inception(weights.get("fid_inception"), self.protocol.inception_resize, self.store)

    def _remark(self, weights: Weights) -> None:
        """Note files that no metric reads (a loss may), and those that are not the published ones."""
        given = {name: Path(path).expanduser() for name, path in weights.items() if path is not None}
        self.unread = [name for name in given if name not in self.weights_sha256]
        self.unpublished = [
            name for name, file in given.items() if name not in self.unread and not pretrained.is_published(name, file)
        ]

    def _available(self, names: list[str], make: Callable[[], Any]) -> Any:
        """What ``make`` makes, or None where its weights are missing."""
        try:
            return make()
        except pretrained.MissingWeightsError as error:
            self.unavailable |= dict.fromkeys(names, f"not available: {error.missing_file} is missing")
            logger.warning("%s: not available: %s", ", ".join(names), error)
        return None

    @staticmethod
    def preflight(metrics: Sequence[str] | str, weights: Weights | None = None, **_: Any) -> None:
        """Before a training: every file of weights must be on this machine, or is fetched.

        Raises FileNotFoundError where one is not to be had: a training of days shall not find out at its end.
        """
        for file in _files_of(_parts(_names(metrics))):
            pretrained.require(file, (weights or {}).get(file))

    def why_not(self, metric: str, pictures: int) -> str | None:
        """Why there will be no number for ``metric`` on a set of so many pictures; None where there will be."""
        if metric not in self.metrics:
            return "not measured in this run"
        if metric in self.unavailable:
            return self.unavailable[metric]
        if _parts([metric]) & set(OF_SETS) and pictures < self.min_pictures:
            return _too_few(pictures, self.min_pictures)
        return None

    def reset(self) -> None:
        """Forget what was seen."""
        self.names: list[str] = []
        self.areas: list[float] = []  # share of each picture that is hole
        self.sizes: set[tuple[int, int]] = set()  # (H, W) of the pictures
        self.scores: dict[str, list[float]] = {name: [] for name in self.scorers}
        self.fake, self.real = Rows(), Rows()  # features of predictions and of the truth

    def update(self, names: list[str], completed: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add B images: their names, (B, 3, H, W) in [0, 1] twice, mask (B, 1, H, W). Raises ValueError for NaN."""
        if not completed.isfinite().all():
            raise ValueError(f"{', '.join(names)}: the prediction holds NaN or infinity")
        self.names += names
        self.sizes.add((target.shape[2], target.shape[3]))
        self.areas += mask.double().flatten(1).mean(dim=1).tolist()
        with torch.no_grad():
            for name, scorer in self.scorers.items():
                self.scores[name] += self._score(name, scorer, completed, target, mask)
        if self.inception is not None:
            self.fake.add(self.inception(completed))
            self.real.add(self.inception(target))

    def _score(self, name: str, scorer: Metric, completed: Tensor, target: Tensor, mask: Tensor) -> list[float]:
        """The score of each image; that of a network is remembered by content."""
        if not (name.startswith("lpips") and is_8_bit(completed) and is_8_bit(target)):
            return scorer.score(completed, target, mask).tolist()
        contents = [a + b for a, b in zip(content_of(completed), content_of(target), strict=True)]
        compute = lambda i: scorer.score(completed[i], target[i], mask[i])[:, None].cpu().numpy()  # noqa: E731
        extractor = f"{name} {self.weights_sha256[name]}"
        return self.store.get(extractor, contents, compute)[:, 0].astype(float).tolist()

    def gather(self) -> None:
        """Join what the processes of a distributed run have seen, on each of them; alone, do nothing."""
        if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
            return
        seen: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(
            seen, (self.names, self.areas, self.sizes, self.scores, self.fake.array, self.real.array)
        )
        self.reset()
        for names, areas, sizes, scores, fake, real in seen:
            self.names += names
            self.sizes |= sizes
            self.areas += areas
            if len(fake):
                self.fake.add(fake)
                self.real.add(real)
            for name, values in scores.items():
                self.scores[name] += values

    def compute(self) -> dict[str, Result]:
        """{metric: {"mean", "std", "ci95", "n"}} over all pictures; with "note" for what is not available."""
        if not self.names:
            raise ValueError("evaluation: no picture was evaluated")
        empty = sum(area == 0 for area in self.areas)
        if empty:
            logger.warning("%d of %d pictures have an empty mask, and count as perfect", empty, len(self.names))
        self._sort()
        return self._of(np.arange(len(self.names)))

    def compute_groups(self) -> dict[str, dict[str, Result]]:
        """The same for each group of pictures by the area of their masks."""
        self._sort()
        return {name: self._of(index) for name, index in members(GROUPINGS[self.grouping](self.areas)).items()}

    def per_image(self) -> list[dict[str, Any]]:
        """One row per image: its name, the area of its mask, and the metrics that score single images."""
        self._sort()
        columns = [name for name in self.metrics if name in self.scores]
        return [
            {"name": self.names[i], "mask_area": self.areas[i]} | {name: self.scores[name][i] for name in columns}
            for i in range(len(self.names))
        ]

    def _sort(self) -> None:
        """By name, so that batches and workers change nothing."""
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        if order == list(range(len(order))):
            return
        for values in (self.names, self.areas, *self.scores.values()):
            values[:] = [values[i] for i in order]  # type: ignore[index]
        for features in (self.fake, self.real):
            if len(features):
                features.sort(order)

    def _of(self, index: NDArray[np.intp]) -> dict[str, Result]:
        results: dict[str, Result] = {}
        for name, scores in self.scores.items():
            results[name] = self._mean(np.asarray(scores, np.float64)[index], "no picture has a hole")
        if self.inception is not None:
            everything = len(index) == len(self.names)
            results |= self._of_sets(*(f.array if everything else f.array[index] for f in (self.fake, self.real)))
        for name, part in INTEGRAL.items():
            if name in self.metrics and name not in self.unavailable:
                results[name] = _f1(results[part], results["fid"], part)
        results |= {name: {"mean": None, "n": 0, "note": note} for name, note in self.unavailable.items()}
        return {name: results[name] for name in self.metrics}

    def _mean(self, scores: NDArray[np.float64], why_none: str) -> Result:
        scores = scores[~np.isnan(scores)]  # a picture without a hole has no score inside it
        if len(scores) == 0:
            return {"mean": None, "n": 0, "note": f"not available: {why_none}"}
        result: Result = {"mean": float(scores.mean()), "std": float(scores.std()), "n": len(scores)}
        return result | ({"ci95": mean_interval(scores)} if self.intervals else {})

    def _of_sets(self, fake: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, Result]:
        n = len(fake)
        if n < self.min_pictures:
            return {name: {"mean": None, "n": n, "note": _too_few(n, self.min_pictures)} for name in OF_SETS}
        x, y = torch.from_numpy(fake), torch.from_numpy(real)
        results: dict[str, Result] = {"fid": self._fid(x, y)} if "fid" in self.needed else {}
        if "kid" in self.needed:
            mean, std = kernel_distance(x, y)
            results["kid"] = {"mean": mean, "std": std, "n": n}
            if self.intervals:
                statistic = lambda i: kernel_distance(x[i], y[i], subsets=1)[0]  # noqa: E731
                results["kid"]["ci95"] = set_interval(statistic, n)
        if self.needed & {"p_ids", "u_ids"}:
            paired, unpaired = discriminative_scores(fake, real)
            results["p_ids"] = self._mean(paired, "") | {"n": n}
            results["u_ids"] = self._mean(unpaired, "") | {"n": n}
        return results

    def _fid(self, x: Tensor, y: Tensor) -> Result:
        n = len(x)
        covariance = self.protocol.covariance
        result: Result = {"mean": frechet_distance(x, y, covariance), "n": n}
        if self.intervals:
            statistic = lambda i: frechet_distance(x, y, covariance, torch.from_numpy(i))  # noqa: E731
            result["ci95"] = set_interval(statistic, n, resamples=50 if n <= 500 else 20)
        return result


def _names(metrics: Sequence[str] | str) -> list[str]:
    if isinstance(metrics, str):
        if metrics not in PRESETS and metrics not in METRICS:
            known = f"{', '.join(PRESETS)}, or of {', '.join(METRICS)}"
            raise ValueError(f"metrics={metrics}: expected a list such as [psnr,ssim], or one of {known}")
        return PRESETS.get(metrics, [metrics])
    if not metrics:
        raise ValueError(f"metrics=[]: expected at least one of {', '.join(METRICS)}")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ValueError(f"metrics: unknown {unknown[0]!r}; known are {', '.join(METRICS)}")
    return list(dict.fromkeys(metrics))


def _parts(metrics: Sequence[str]) -> set[str]:
    """What has to be measured: an integral score needs its two parts."""
    return {part for name in metrics for part in ((INTEGRAL[name], "fid") if name in INTEGRAL else (name,))}


def _files_of(parts: set[str]) -> list[str]:
    """The files of weights, as ``lama.pretrained`` names them, behind these metrics."""
    return [name for name in PER_IMAGE if name in parts and name.startswith("lpips")] + (
        ["fid_inception"] if parts & set(OF_SETS) else []
    )


def _too_few(pictures: int, least: int) -> str:
    return f"not available: {pictures} pictures are too few ({least})"


def _f1(score: Mapping[str, Any], fid: Mapping[str, Any], part: str) -> Result:
    """LaMa's harmonic mean of a similarity and (100 - FID) / 100: what its checkpoints are chosen by."""
    if score["mean"] is None or fid["mean"] is None:
        note = score.get("note") or fid.get("note")
        return {"mean": None, "n": fid["n"], "note": note}
    similarity = score["mean"] if part == "ssim" else 1 - score["mean"]
    return {"mean": fid100_f1(similarity, fid["mean"]), "n": fid["n"]}


def fid100_f1(similarity: float, fid: float) -> float:
    """2 s f / (s + f + 0.001) with f = max(0, 100 - FID) / 100 (official ``evaluator.py``)."""
    relative = max(0.0, 100 - fid) / 100
    return 2 * similarity * relative / (similarity + relative + 1e-3)


def higher_is_better(metric: str) -> bool:
    """Which way a metric is better. Raises KeyError for an unknown one."""
    if metric in OF_SETS or metric in INTEGRAL:
        return metric not in ("fid", "kid")
    return not metric.startswith(("l1", "lpips", "dots"))

"""Run several metrics over an evaluation set in one pass."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from lama import pretrained
from lama.evaluation.per_image import PerImageMetric
from lama.evaluation.pixel import L1, PSNR
from lama.evaluation.ssim import SSIM
from lama.interfaces import Metric

logger = logging.getLogger(__name__)
Weights = dict[str, str | None]


def _lpips(trunk: str) -> Callable[[Weights], Metric]:
    def make(weights: Weights) -> Metric:
        from lama.evaluation.lpips import LPIPS

        return LPIPS(trunk, weights.get(f"lpips_{trunk}"))

    return make


def _fid(weights: Weights) -> Metric:
    from lama.evaluation.fid import FID

    return FID(weights.get("fid_inception"))


METRICS: dict[str, Callable[[Weights], Metric]] = {
    "psnr_hole": lambda _: PSNR(hole_only=True),
    "ssim_hole": lambda _: SSIM(hole_only=True),
    "l1_hole": lambda _: L1(hole_only=True),
    "psnr": lambda _: PSNR(),
    "ssim": lambda _: SSIM(),
    "l1": lambda _: L1(),
    "lpips_vgg": _lpips("vgg"),
    "lpips_alex": _lpips("alex"),
    "lpips_squeeze": _lpips("squeeze"),
    "fid": _fid,
}


class Evaluator:
    """Named metrics over one pass. A metric whose weights are not on this machine is reported as not available.

    Raises ValueError for an unknown metric, FileNotFoundError for an explicit weight path that does not exist.
    """

    def __init__(self, metrics: Iterable[str], weights: Weights | None = None) -> None:
        self.metrics: dict[str, Metric] = {}
        self.unavailable: dict[str, str] = {}
        self.names: list[str] = []
        for name in metrics:
            if name not in METRICS:
                raise ValueError(f"metrics: unknown {name!r}; known are {', '.join(METRICS)}")
            try:
                self.metrics[name] = METRICS[name](weights or {})
            except pretrained.MissingWeightsError as error:
                self.unavailable[name] = f"not available: {error.missing_file} is missing"
                logger.warning("%s is not available: %s", name, error)

    def update(self, names: list[str], completed: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add B images: their names, (B, 3, H, W) in [0, 1] twice, mask (B, 1, H, W). Raises ValueError for NaN."""
        if not completed.isfinite().all():
            raise ValueError(f"{', '.join(names)}: the prediction holds NaN or infinity")
        self.names += names
        for metric in self.metrics.values():
            metric.update(completed, target, mask)

    def compute(self) -> dict[str, dict[str, Any]]:
        """{metric: {"mean", "n"}}, or {"mean": None, "n": 0, "note"} for what is not available."""
        if not self.names:
            raise ValueError("evaluation: no picture was evaluated")
        results: dict[str, dict[str, Any]] = {}
        for name, metric in self.metrics.items():
            value, n = metric.compute(), len(self.names)
            if isinstance(metric, PerImageMetric):
                n = sum(not math.isnan(score) for score in metric.values)  # a picture without a hole has no score
            if math.isnan(value):
                reason = "no picture has a hole" if isinstance(metric, PerImageMetric) else "too few pictures"
                results[name] = {"mean": None, "n": 0, "note": f"not available: {reason}"}
            else:
                results[name] = {"mean": value, "n": n}
        return results | {name: {"mean": None, "n": 0, "note": note} for name, note in self.unavailable.items()}

    def per_image(self) -> list[dict[str, Any]]:
        """One row per image: its name and the metrics that score single images."""
        columns = {name: m.values for name, m in self.metrics.items() if isinstance(m, PerImageMetric)}
        return [
            {"name": image} | {name: values[i] for name, values in columns.items()}
            for i, image in enumerate(self.names)
        ]

    def reset(self) -> None:
        self.names = []
        for metric in self.metrics.values():
            metric.reset()

"""Plots of an evaluation: every metric by the area of the masks, and how the pictures' scores are spread."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from lama.evaluation.evaluator import higher_is_better

INK, ACCENT, GRID = "#1c1917", "#be185d", "#e7e5e4"


def by_area(groups: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> bytes | None:
    """A PNG: one plot per metric, a point with its 95 % interval per group; FID first. None where nothing is there."""
    measured = {m: [g for g in groups if groups[g][m]["mean"] is not None] for m in metrics}
    shown = sorted((m for m in metrics if measured[m]), key=lambda m: m != "fid")

    def draw(axis: Any, metric: str) -> None:
        names = measured[metric]
        means = np.array([groups[name][metric]["mean"] for name in names])
        ends = np.array([groups[name][metric].get("ci95") or (mean, mean) for name, mean in zip(names, means)])  # noqa: B905
        errors = np.abs(np.stack([means - ends[:, 0], ends[:, 1] - means]))
        axis.errorbar(range(len(names)), means, errors, fmt="o-", color=ACCENT, ecolor=INK, capsize=3, linewidth=1)
        labels = [f"{name}\nn {groups[name][metric]['n']}" for name in names]
        axis.set_xticks(range(len(names)), labels, fontsize=7)

    return _grid(shown, draw)


def histograms(per_image: Sequence[Mapping[str, Any]]) -> bytes | None:
    """A PNG: one histogram of the pictures' scores per metric, the mean as a line."""
    columns = [name for name in per_image[0] if name not in ("name", "mask_area")]
    scores = {name: np.array([row[name] for row in per_image], float) for name in columns}
    scores = {name: values[np.isfinite(values)] for name, values in scores.items()}

    def draw(axis: Any, metric: str) -> None:
        axis.hist(scores[metric], bins=min(30, max(5, len(per_image) // 5)), color=ACCENT, alpha=0.8)
        axis.axvline(scores[metric].mean(), color=INK, linewidth=1)
        axis.set_ylabel("pictures", fontsize=7)

    return _grid([name for name in columns if len(scores[name])], draw)


def _grid(metrics: Sequence[str], draw: Callable[[Any, str], None]) -> bytes | None:
    """Small plots beside each other, three in a row."""
    if not metrics:
        return None
    rows = -(-len(metrics) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(11, 2.5 * rows), squeeze=False, layout="constrained")
    for axis, metric in zip(axes.flat, metrics, strict=False):
        draw(axis, metric)
        axis.set_title(f"{metric} {'↑' if higher_is_better(metric) else '↓'}", fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(color=GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(metrics) :]:
        axis.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()

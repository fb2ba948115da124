"""Plots of an evaluation: every metric by mask area, and the distribution of the images' scores."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from lama.evaluation.metrics import arrow, measures_sets

INK, ACCENT, GRID = "#1c1917", "#be185d", "#e7e5e4"


def by_area(groups: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> bytes | None:
    """A PNG with one plot per metric, sets first: value and 95 % interval per group. None where nothing is measured."""
    measured = {m: [g for g in groups if groups[g][m]["mean"] is not None] for m in metrics}
    shown = sorted((m for m in metrics if measured[m]), key=lambda m: not measures_sets(m))

    def draw(axis: Any, index: int) -> str:
        metric = shown[index]
        names = measured[metric]
        means = np.array([groups[name][metric]["mean"] for name in names])
        ends = np.array([groups[name][metric].get("ci95") or (mean, mean) for name, mean in zip(names, means)])  # noqa: B905
        errors = np.abs(np.stack([means - ends[:, 0], ends[:, 1] - means]))
        axis.errorbar(range(len(names)), means, errors, fmt="o-", color=ACCENT, ecolor=INK, capsize=3, linewidth=1)
        labels = [f"{name}\nn {groups[name][metric]['n']}" for name in names]
        axis.set_xticks(range(len(names)), labels, fontsize=7)
        return f"{metric} {arrow(metric)}"

    return panels(len(shown), draw)


def histograms(per_image: Sequence[Mapping[str, Any]]) -> bytes | None:
    """A PNG with one histogram of the images' scores per metric, and their mean as a line; None without scores."""
    columns = [name for name in per_image[0] if name not in ("name", "mask_area")]
    scores = {name: np.array([row[name] for row in per_image], float) for name in columns}
    scores = {name: values[np.isfinite(values)] for name, values in scores.items()}

    shown = [name for name in columns if len(scores[name])]

    def draw(axis: Any, index: int) -> str:
        metric = shown[index]
        axis.hist(scores[metric], bins=min(30, max(5, len(per_image) // 5)), color=ACCENT, alpha=0.8)
        axis.axvline(scores[metric].mean(), color=INK, linewidth=1)
        axis.set_ylabel("images", fontsize=7)
        return f"{metric} {arrow(metric)}"

    return panels(len(shown), draw)


def panels(count: int, draw: Callable[[Any, int], str]) -> bytes | None:
    """A PNG of ``count`` small plots, three in a row; None for 0. ``draw(axis, i)`` fills one and returns its title."""
    if not count:
        return None
    rows = -(-count // 3)
    width, height = (
        11,
        2.5 * rows,
    )  # inches; margins by hand: a layout that measures every label takes longer than the plots
    figure, axes = plt.subplots(rows, 3, figsize=(width, height), squeeze=False)
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.1 / width, bottom=0.4 / height, top=1 - 0.25 / height, wspace=0.22, hspace=0.36
    )
    for index, axis in enumerate(axes.flat[:count]):
        axis.set_title(draw(axis, index), fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
        axis.grid(color=GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[count:]:
        axis.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()

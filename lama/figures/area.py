"""Metrics against the area of the hole, for several models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lama.evaluation.metrics import METRICS, arrow
from lama.evaluation.statistics import mean_interval
from lama.figures.choosing import telling
from lama.figures.labels import labels_of
from lama.figures.sources import read_all
from lama.figures.style import COLOURS, MARKS, check, plots

BINS = 6  # of equal numbers of images


def area_figure(
    folders: Sequence[str],  # of ``lama evaluate``, on one set
    out: str | Path,
    names: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,  # None: the most telling one that all have
    width: float = 6.9,  # inches
) -> None:
    """Write one plot for each metric: the mean and its 95 % interval in groups of images with holes of similar area.

    The groups have equal numbers of images. Raises as ``read_all``, and ValueError for a metric of whole sets.
    """
    path = check(out, width)
    evaluations = read_all(folders)
    labels = labels_of(folders, names)
    chosen = [metrics] if isinstance(metrics, str) else list(metrics or [telling(evaluations, None)])
    chosen = [telling(evaluations, metric) for metric in chosen]
    images = sorted(evaluations[0].rows, key=lambda name: evaluations[0].rows[name]["mask_area"])
    groups = np.array_split(np.array(images), max(1, min(BINS, len(images) // 4)))
    middles = [100 * np.mean([evaluations[0].rows[name]["mask_area"] for name in group]) for group in groups]

    def draw(axis: Any, index: int) -> None:
        for i, (label, one) in enumerate(zip(labels, evaluations, strict=True)):
            scores = [np.array([one.rows[name][chosen[index]] for name in group]) for group in groups]
            scores = [values[np.isfinite(values)] for values in scores]
            means = np.array([values.mean() if len(values) else np.nan for values in scores])
            ends = np.array([mean_interval(values) or (mean, mean) for values, mean in zip(scores, means, strict=True)])
            axis.errorbar(
                middles, means, np.abs(ends.T - means), label=label, elinewidth=0.7,
                color=COLOURS[i % len(COLOURS)], marker=MARKS[i % len(MARKS)],
                capsize=2 + 1.2 * (len(labels) - 1 - i),  # all stay visible where bars are equal
            )  # fmt: skip
        axis.set_xlabel("hidden, % of the image")

    plots([f"{METRICS[metric].label} {arrow(metric)}" for metric in chosen], draw, width, path)

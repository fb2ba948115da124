"""``report.html``: the results of an evaluation as a page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lama.evaluation.evaluator import Evaluator
from lama.evaluation.metrics import METRICS, arrow, higher_is_better
from lama.evaluation.plots import by_area, histograms
from lama.evaluation.tables import about, format_cell, markdown_table, method, stamp, why_missing, write_results
from lama.interfaces import ImageArray, MaskArray
from lama.pages import data_url, image_url, render, with_hole

SHOWN = 4  # images of each kind
Example = Callable[[str], tuple[ImageArray, MaskArray, ImageArray]]  # name -> image, mask, prediction


def measure(
    evaluator: Evaluator, batches: Iterable[tuple[list[str], Tensor, Tensor, Tensor]], images: int, device: torch.device
) -> None:
    """Give every batch (names, completed, target, mask) of ``images`` images to the evaluator, with a progress bar."""
    with tqdm(total=images, desc="evaluating", unit="image") as progress:
        for names, *tensors in batches:
            evaluator.update(names, *(tensor.to(device) for tensor in tensors))
            progress.update(len(names))


def write_evaluation(outdir: str | Path, evaluator: Evaluator, what: Mapping[str, Any], example: Example) -> str:
    """Write all results; returns the text to print. ``what`` has indir, predictions, images and evaluation_set."""
    results, groups, rows = evaluator.compute(), evaluator.compute_groups(), evaluator.per_image()
    described = about(what, evaluator)
    write_results(outdir, results, groups, rows, described, report_page(results, groups, rows, described, example))
    store = evaluator.store
    return (
        f"{markdown_table({**groups, 'total': results}, 'mask area', interval=True)}\n{what['images']} images; "
        f"features: {store.computed} computed, {store.remembered} remembered; written to {outdir}: report.html, "
        "metrics.json, per_image.csv, table.md, table.tex"
    )


def report_page(
    results: Mapping[str, Any],  # as Evaluator.compute gives it
    groups: Mapping[str, Mapping[str, Any]],  # as Evaluator.compute_groups
    per_image: Sequence[Mapping[str, Any]],  # as Evaluator.per_image
    described: Mapping[str, Any],  # as ``tables.about`` makes it
    example: Example,
) -> str:
    """HTML in one file: tables, metrics by mask area, histograms, worst, best and random images."""
    metrics = list(results)
    scored = [name for name in METRICS if name in per_image[0]]
    headline = min(scored, key=lambda name: METRICS[name].example_rank, default=None)
    images = (by_area(groups, metrics), histograms(per_image))
    area, spread = (None if png is None else data_url(png, "image/png") for png in images)
    return render(
        "evaluation",
        title=f"evaluation of {method(described)}",
        described=described,
        stamp=stamp(described),
        arrows={m: arrow(m) for m in metrics},
        results={m: _row(result) for m, result in results.items()},
        groups={name: {m: format_cell(group[m]) for m in metrics} for name, group in groups.items()},
        missing=why_missing(groups),
        counts={name: max(group[m]["n"] for m in metrics) for name, group in groups.items()},
        measured=[m for m in metrics if results[m]["mean"] is not None],
        area=area,
        spread=spread,
        headline=headline,
        examples={} if headline is None else _examples(per_image, headline, example),
    )


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of one metric: mean, interval, standard deviation, n; or the reason for a missing number."""
    ends = result.get("ci95")
    return {
        "mean": format_cell(result) if result["mean"] is not None else result.get("note", "not available"),
        "interval": f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else "",
        "std": f"{result['std']:.3g}" if result.get("std") is not None else "",
        "n": result["n"],
        "missing": result["mean"] is None,
    }


def _examples(per_image: Sequence[Mapping[str, Any]], metric: str, example: Example) -> dict[str, list[dict[str, Any]]]:
    """{"worst", "best", "random": images with their predictions}, each image at most once."""
    scored = [row for row in per_image if np.isfinite(row[metric])]
    scored.sort(key=lambda row: row[metric], reverse=higher_is_better(metric))
    k = min(SHOWN, len(scored) // 3)
    best, rest, worst = scored[:k], scored[k : len(scored) - k], scored[len(scored) - k :][::-1]
    drawn = sorted(np.random.default_rng(0).permutation(len(rest))[:SHOWN].tolist())
    kinds = {"worst": worst, "best": best, "random": [rest[i] for i in drawn]}
    return {kind: [_shown(row, metric, example) for row in rows] for kind, rows in kinds.items() if rows}


def _shown(row: Mapping[str, Any], metric: str, example: Example) -> dict[str, Any]:
    image, mask, completed = example(row["name"])
    difference = np.abs(image.astype(int) - completed.astype(int)).max(axis=2, keepdims=True)
    return {
        "name": row["name"],
        "about": f"{metric} {row[metric]:.4g}, {row['mask_area']:.0%} hidden",
        "image": image_url(image),
        "masked": image_url(with_hole(image, mask)),
        "prediction": image_url(completed),
        "difference": image_url(np.repeat(255 - difference, 3, axis=2).astype(np.uint8)),
    }

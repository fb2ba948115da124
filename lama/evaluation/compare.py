"""Compare two models on the same images, from the files that ``lama evaluate`` wrote for each."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from lama.evaluation.metrics import METRICS, arrow, higher_is_better, scores_images
from lama.evaluation.statistics import paired_comparison, welch_interval
from lama.pages.table import Table, text_cell, to_markdown
from lama.verbs import typed

Evaluated = tuple[dict[str, Any], dict[str, dict[str, float]]]  # metrics.json, and the rows of per_image.csv by name


def compare(a: str | Path, b: str | Path, set_name: str | None = None) -> dict[str, dict[str, Any]]:
    """{metric: paired comparison} of two folders with metrics.json and per_image.csv.

    With ``set_name``, each folder holds one such folder per seed: ``seed0/set_name`` and so on. The score of an image
    is then its mean over the seeds. "ci95" is the interval of the difference over images, "seeds_ci95" the interval
    over trainings (Welch's t of the means; None for a single seed of either model). "seeds" counts the seeds. Raises
    FileNotFoundError for a missing file, ValueError for different images, protocols or weight files.
    """
    of_a, of_b = (_evaluations(Path(folder), set_name) for folder in (a, b))
    first = next(iter(of_a))
    for other in (*of_a, *of_b):
        _check_comparable(first, of_a[first], other, (of_a | of_b)[other])
    every = [rows for _, rows in (*of_a.values(), *of_b.values())]
    shared = [m for m in METRICS if scores_images(m) and all(m in next(iter(rows.values())) for rows in every)]
    names = sorted(every[0])
    results = {}
    for metric in shared:
        scores_a, scores_b = (  # (seeds, images)
            np.array([[rows[name][metric] for name in names] for _, rows in evaluations.values()])
            for evaluations in (of_a, of_b)
        )
        means = {"a": float(np.nanmean(scores_a)), "b": float(np.nanmean(scores_b))}
        paired = paired_comparison(scores_a.mean(axis=0), scores_b.mean(axis=0), higher_is_better(metric))
        between = welch_interval(np.nanmean(scores_a, axis=1), np.nanmean(scores_b, axis=1))
        results[metric] = means | paired | {"seeds_ci95": between, "seeds": (len(scores_a), len(scores_b))}
    return results


def _evaluations(folder: Path, set_name: str | None) -> dict[Path, Evaluated]:
    """{folder: its files}, of one evaluation or of one for every seed."""
    if set_name is None:
        return {folder: _read(folder)}
    found = sorted(path.parent for path in folder.glob(f"seed*/{set_name}/metrics.json"))
    if not found:
        raise FileNotFoundError(f"{folder}: no seedN/{set_name}/metrics.json in it; expected evaluations of a sweep")
    return {path: _read(path) for path in found}


def _check_comparable(a: Path, of_a: Evaluated, b: Path, of_b: Evaluated) -> None:
    (about_a, rows_a), (about_b, rows_b) = of_a, of_b
    for key in ("protocol", "evaluation_set"):
        if about_a.get(key) != about_b.get(key):
            raise ValueError(f"{a} and {b} differ in {key}: evaluate both on the same set under the same protocol")
    files_a, files_b = about_a.get("weights_sha256", {}), about_b.get("weights_sha256", {})
    odd = [name for name in files_a.keys() & files_b.keys() if files_a[name] != files_b[name]]
    if odd:
        raise ValueError(f"{a} and {b} were measured with different weights of {odd[0]}: use the same file for both")
    if rows_a.keys() != rows_b.keys():
        odd = sorted(rows_a.keys() ^ rows_b.keys())
        raise ValueError(f"{a} and {b} are about different images: {len(odd)} are in one of them only, first {odd[0]}")


def comparison_table(results: dict[str, dict[str, Any]], a: str, b: str) -> str:
    """Markdown: one row a metric; ``a`` and ``b`` are the names of the columns."""
    headings = ["metric", a, b, f"{a} - {b}", "95 %, images", "95 %, seeds", f"{a} better", f"{b} better", "equal",
                "sign test p"]  # fmt: skip
    rows = [
        [
            f"{metric} {arrow(metric)}", f"{result['a']:.4g}", f"{result['b']:.4g}", f"{result['difference']:+.4g}",
            _interval(result["ci95"]), _interval(result["seeds_ci95"]), str(result["wins"]), str(result["losses"]),
            str(result["ties"]), f"{result['sign_test_p']:.2g}",
        ]
        for metric, result in results.items()
    ]  # fmt: skip
    return to_markdown(Table(headings, [[text_cell(text) for text in row] for row in rows]))


def _interval(ends: tuple[float, float] | None) -> str:
    return "n/a" if ends is None else "{:+.4g} to {:+.4g}".format(*ends)


def _read(folder: Path) -> Evaluated:
    if folder.is_file():
        folder = folder.parent  # a user may name one of its files
    missing = next((name for name in ("metrics.json", "per_image.csv") if not (folder / name).is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{folder / missing}: no such file; expected an outdir= of {typed('evaluate')}")
    try:
        with (folder / "per_image.csv").open(newline="") as file:
            rows = {
                row.pop("name"): {column: float(value) for column, value in row.items()} for row in csv.DictReader(file)
            }
        content: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        complete = {"protocol", "evaluation_set", "overall"} <= content.keys() and rows
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}: metrics.json or per_image.csv is damaged ({error}); evaluate again") from error
    if not complete:
        raise ValueError(f"{folder}: metrics.json or per_image.csv is not of {typed('evaluate')}; evaluate again")
    return content, rows

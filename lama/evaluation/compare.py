"""Two models on the same images, from what ``lama evaluate`` has written for each."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from lama.evaluation.evaluator import PER_IMAGE, higher_is_better
from lama.evaluation.statistics import paired_comparison, welch_interval
from lama.verbs import typed

Evaluated = tuple[dict[str, Any], dict[str, dict[str, float]]]  # metrics.json, and the rows of per_image.csv by name


def compare(a: str | Path, b: str | Path, set_name: str | None = None) -> dict[str, dict[str, Any]]:
    """{metric: paired comparison} of two folders with metrics.json and per_image.csv.

    With ``set_name`` they hold one such folder for every seed, ``seed0/set_name`` and so on. An image's score is then
    its mean over the seeds, so that "ci95" says how other images would change the difference; "seeds_ci95", Welch's t
    interval of the difference between the seeds' means, says how other trainings would; None where either has but one.
    "seeds" counts them.

    Raises FileNotFoundError where one is missing, ValueError where they are about other images or another protocol.
    """
    of_a, of_b = (_evaluations(Path(folder), set_name) for folder in (a, b))
    first = next(iter(of_a))
    for other in (*of_a, *of_b):
        _check_comparable(first, of_a[first], other, (of_a | of_b)[other])
    every = [rows for _, rows in (*of_a.values(), *of_b.values())]
    shared = [name for name in PER_IMAGE if all(name in next(iter(rows.values())) for rows in every)]
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
    """{folder: what was read}, of one evaluation or of one for every seed."""
    if set_name is None:
        return {folder: _read(folder)}
    found = sorted(path.parent for path in folder.glob(f"seed*/{set_name}/metrics.json"))
    if not found:
        raise FileNotFoundError(
            f"{folder}: no seedN/{set_name}/metrics.json in it; expected the evaluations of a sweep"
        )
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
    lines = [
        f"| metric | {a} | {b} | {a} - {b} | 95 %, images | 95 %, seeds | {a} better | {b} better | equal "
        "| sign test p |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for metric, result in results.items():
        images, seeds = (_interval(result[key]) for key in ("ci95", "seeds_ci95"))
        arrow = "↑" if higher_is_better(metric) else "↓"
        lines.append(
            f"| {metric} {arrow} | {result['a']:.4g} | {result['b']:.4g} | {result['difference']:+.4g} | {images} | "
            f"{seeds} | {result['wins']} | {result['losses']} | {result['ties']} | {result['sign_test_p']:.2g} |"
        )
    return "\n".join(lines) + "\n"


def _interval(ends: tuple[float, float] | None) -> str:
    return "n/a" if ends is None else "{:+.4g} to {:+.4g}".format(*ends)


def _read(folder: Path) -> Evaluated:
    if folder.is_file():
        folder = folder.parent  # one of its files was named
    missing = next((name for name in ("metrics.json", "per_image.csv") if not (folder / name).is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{folder / missing}: no such file; expected an outdir= of {typed('evaluate')}")
    try:
        with (folder / "per_image.csv").open(newline="") as file:
            rows = {
                row.pop("name"): {column: float(value) for column, value in row.items()} for row in csv.DictReader(file)
            }
        content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
        complete = {"protocol", "evaluation_set", "overall"} <= content.keys() and rows
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}: metrics.json or per_image.csv is damaged ({error}); evaluate again") from error
    if not complete:
        raise ValueError(f"{folder}: metrics.json or per_image.csv is not of {typed('evaluate')}; evaluate again")
    return content, rows

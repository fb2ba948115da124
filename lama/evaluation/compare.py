"""Compare two models on the same images, from the files that ``lama evaluate`` wrote for each."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lama.evaluation.metrics import METRICS, higher_is_better, left_out, scores_images
from lama.evaluation.statistics import holm, paired_comparison, welch
from lama.verbs import typed

Evaluated = tuple[dict[str, Any], dict[str, dict[str, float]]]  # metrics.json, and the rows of per_image.csv by name


def compare(a: str | Path, b: str | Path, set_name: str | None = None) -> dict[str, dict[str, Any]]:
    """{metric: paired comparison} of two folders with metrics.json and per_image.csv.

    With ``set_name``, each folder holds one such folder per seed: ``seed0/set_name`` and so on. Returns and
    raises as ``compare_seeds``.
    """
    return compare_seeds(*(_folders(Path(folder), set_name) for folder in (a, b)))


def compare_all(folders: Sequence[str | Path], set_name: str | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """{other: {metric: comparison}} of the first of ``folders`` with each of the others, in the order given.

    The names of the others are the ends of their paths. "p_holm" is p after Holm's correction over the others. Only
    metrics that all of them share are compared. Raises as ``compare``, and ValueError for a folder that is given twice
    and where no metric is shared.
    """
    names = short_names(folders)
    results = {name: compare(folders[0], folder, set_name) for name, folder in zip(names[1:], folders[1:], strict=True)}
    shared = [metric for metric in METRICS if all(metric in result for result in results.values())]
    if not shared:
        raise ValueError("; ".join(["no metric of single images is in all of them", *not_compared(folders, set_name)]))
    for metric in shared:
        corrected = holm([result[metric]["p"] for result in results.values()])
        for result, p in zip(results.values(), corrected, strict=True):
            result[metric]["p_holm"] = p
    return {name: {metric: result[metric] for metric in shared} for name, result in results.items()}


def not_compared(folders: Sequence[str | Path], set_name: str | None = None) -> list[str]:
    """A line that names the metrics that ``compare_all`` leaves out: their packages were not imported. Or no line."""
    return left_out([read_folder(one)[0] for folder in folders for one in _folders(Path(folder), set_name)])


def short_names(folders: Sequence[str | Path]) -> list[str]:
    """The ends of paths, as long as they need to differ. Raises ValueError for a path that is given twice."""
    every = [(path.parent if path.is_file() else path).resolve().parts for path in map(Path, folders)]
    twice = next((path for path in every if every.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"{Path(*twice)}: given twice; expected different evaluations")
    ends: list[str] = []
    for length in range(1, max(map(len, every)) + 1):
        ends = ["/".join(parts[-length:]) for parts in every]
        if len(set(ends)) == len(ends):
            break
    return ends


def compare_seeds(a: Sequence[Path], b: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """{metric: paired comparison} of two models, each with an evaluation for every seed.

    The score of an image is its mean over the seeds. "ci95" is the interval of the difference over images, "seeds_ci95"
    the interval over trainings (Welch's t of the means; None for a single seed of either model), "p" the larger p of
    the two t-tests: a difference is established only if it is more than the chance of images and of trainings. "seeds"
    counts the seeds. Raises FileNotFoundError for a missing file, ValueError for different images, protocols or weight
    files.
    """
    of_a, of_b = ({folder: read_folder(folder) for folder in folders} for folders in (a, b))
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
        between, p = welch(np.nanmean(scores_a, axis=1), np.nanmean(scores_b, axis=1)) or (None, 0.0)
        counts = {"seeds_ci95": between, "seeds": (len(scores_a), len(scores_b))}
        results[metric] = means | paired | counts | {"p": max(paired["p"], p)}
    return results


def _folders(folder: Path, set_name: str | None) -> list[Path]:
    """One evaluation, or one for every seed."""
    if set_name is None:
        sets = dict.fromkeys(path.parent.name for path in sorted(folder.glob("seed*/*/metrics.json")))
        if sets and not (folder / "metrics.json").is_file():
            raise ValueError(
                f"{folder}: a row of a sweep, without its evaluation set; add set= one of {', '.join(sets)}"
            )
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"seed*/{set_name}/metrics.json"))
    if not found:
        raise FileNotFoundError(f"{folder}: no seedN/{set_name}/metrics.json in it; expected evaluations of a sweep")
    return found


def _check_comparable(a: Path, of_a: Evaluated, b: Path, of_b: Evaluated) -> None:
    (about_a, rows_a), (about_b, rows_b) = of_a, of_b
    truths = [about.get("truth") or "null" for about in (about_a, about_b)]
    if truths[0] != truths[1]:
        raise ValueError(f"{a} and {b} differ in truth: {' and '.join(truths)}: evaluate both with the same truth=")
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


def read_folder(folder: Path) -> Evaluated:
    """metrics.json and per_image.csv of an evaluation. Raises FileNotFoundError or ValueError for another folder."""
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

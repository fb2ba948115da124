"""Two models on the same pictures, from what ``bin/evaluate.py`` has written for each."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from lama.evaluation.evaluator import PER_IMAGE, higher_is_better
from lama.evaluation.statistics import paired_comparison


def compare(a: str | Path, b: str | Path) -> dict[str, dict[str, Any]]:
    """{metric: paired comparison} of two folders with metrics.json and per_image.csv.

    Raises FileNotFoundError where one is missing, ValueError where they are about other pictures or another protocol.
    """
    (about_a, rows_a), (about_b, rows_b) = (_read(Path(folder)) for folder in (a, b))
    for key in ("protocol", "evaluation_set"):
        if about_a.get(key) != about_b.get(key):
            raise ValueError(f"{a} and {b} differ in {key}: evaluate both on the same set under the same protocol")
    files_a, files_b = about_a.get("weights_sha256", {}), about_b.get("weights_sha256", {})
    odd = [name for name in files_a.keys() & files_b.keys() if files_a[name] != files_b[name]]
    if odd:
        raise ValueError(f"{a} and {b} were measured with different weights of {odd[0]}: use the same file for both")
    if rows_a.keys() != rows_b.keys():
        odd = sorted(rows_a.keys() ^ rows_b.keys())
        raise ValueError(
            f"{a} and {b} are about different pictures: {len(odd)} are in one of them only, first {odd[0]}"
        )
    shared = [name for name in PER_IMAGE if all(name in next(iter(rows.values())) for rows in (rows_a, rows_b))]
    names = sorted(rows_a)
    results = {}
    for metric in shared:
        first, second = (np.array([rows[name][metric] for name in names]) for rows in (rows_a, rows_b))
        means = {"a": float(np.nanmean(first)), "b": float(np.nanmean(second))}
        results[metric] = means | paired_comparison(first, second, higher_is_better(metric))
    return results


def comparison_table(results: dict[str, dict[str, Any]], a: str, b: str) -> str:
    """Markdown: one row a metric; ``a`` and ``b`` are the names of the columns."""
    lines = [
        f"| metric | {a} | {b} | {a} - {b} | 95 % | {a} better | {b} better | equal | sign test p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for metric, result in results.items():
        interval = "n/a" if result["ci95"] is None else "{:+.4g} to {:+.4g}".format(*result["ci95"])
        arrow = "↑" if higher_is_better(metric) else "↓"
        lines.append(
            f"| {metric} {arrow} | {result['a']:.4g} | {result['b']:.4g} | {result['difference']:+.4g} | {interval} | "
            f"{result['wins']} | {result['losses']} | {result['ties']} | {result['sign_test_p']:.2g} |"
        )
    return "\n".join(lines) + "\n"


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """metrics.json, and the rows of per_image.csv by name."""
    if folder.is_file():
        folder = folder.parent  # one of its files was named
    missing = next((name for name in ("metrics.json", "per_image.csv") if not (folder / name).is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{folder / missing}: no such file; expected a folder that bin/evaluate.py has written")
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
        raise ValueError(f"{folder}: metrics.json or per_image.csv is not what bin/evaluate.py writes; evaluate again")
    return content, rows

"""Results as files: metrics.json, per_image.csv, table.md."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lama.files import whole

Results = dict[str, dict[str, Any]]  # {metric: {"mean", "n", "note"?}}, as Evaluator.compute returns

LOWER_IS_BETTER = ("l1", "lpips", "fid")
PROTOCOL = (
    "lama: pictures in [0, 1], 8 bit; SSIM with zero padding; FID with pytorch-fid's Inception, bilinear 299, "
    "N - 1; *_hole inside the mask only"
)


def higher_is_better(metric: str) -> bool:
    return not metric.startswith(LOWER_IS_BETTER)


def format_cell(result: Mapping[str, Any]) -> str:
    """A number with four significant digits, or the note that says why there is none."""
    return str(result.get("note", "not available")) if result["mean"] is None else f"{result['mean']:.4g}"


def markdown_table(methods: Mapping[str, Results]) -> str:
    """One row a method, one column a metric; the best of each column in bold."""
    metrics = list(next(iter(methods.values())))
    arrows = {metric: "↑" if higher_is_better(metric) else "↓" for metric in metrics}
    lines = [
        "| method | " + " | ".join(f"{metric} {arrows[metric]}" for metric in metrics) + " |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    best = {metric: best_method(methods, metric) for metric in metrics}
    for name, results in methods.items():
        cells = (format_cell(results[m]) if best[m] != name else f"**{format_cell(results[m])}**" for m in metrics)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def best_method(methods: Mapping[str, Results], metric: str) -> str | None:
    """The method that wins a column; None for a single method, or where nothing was measured."""
    measured = {name: r[metric]["mean"] for name, r in methods.items() if r[metric]["mean"] is not None}
    if len(measured) < 2:
        return None
    return (max if higher_is_better(metric) else min)(measured, key=lambda name: measured[name])


def write_results(outdir: str | Path, results: Results, per_image: list[dict[str, Any]], about: dict[str, Any]) -> Path:
    """Write metrics.json ({"protocol", "overall", ...}), per_image.csv and table.md, each whole or not at all."""
    outdir = Path(outdir)
    rows = io.StringIO()
    writer = csv.DictWriter(rows, list(per_image[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(per_image)
    content = {"protocol": PROTOCOL, **about, "overall": results}
    for name, text in (
        ("per_image.csv", rows.getvalue()),
        ("table.md", markdown_table({"prediction": results})),
        ("metrics.json", json.dumps(content, indent=2) + "\n"),
    ):
        with whole(outdir / name) as partial:
            partial.write_text(text)
    return outdir

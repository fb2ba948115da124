"""Results as files: metrics.json, per_image.csv, table.md, table.tex, report.html."""

import csv
import importlib.metadata
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lama
from lama.evaluation.evaluator import Evaluator, higher_is_better
from lama.files import atomic_write

Results = dict[str, dict[str, Any]]  # {metric: {"mean", "ci95", "n", "note"?}}, as Evaluator.compute returns


def format_cell(result: Mapping[str, Any], interval: bool = False) -> str:
    """A number with four significant digits, perhaps with its interval; n/a where there is none."""
    if result["mean"] is None:
        return "n/a"
    ends = result.get("ci95") if interval else None
    return f"{result['mean']:.4g}" + (f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "")


def why_missing(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """A line for each reason why a cell is n/a: ``fid: n/a, 30 images are too few (100)``."""
    notes = {
        f"{metric}: n/a, {str(result.get('note', 'not available')).removeprefix('not available: ')}": None
        for results in rows.values()
        for metric, result in results.items()
        if result["mean"] is None
    }
    return list(notes)


def markdown_table(rows: Mapping[str, Results], label: str = "method", interval: bool = False) -> str:
    """One row a method or group, one column a metric; the best of each column in bold; below, why a cell is n/a."""
    metrics = list(next(iter(rows.values())))
    best = {metric: best_method(rows, metric) if label == "method" else None for metric in metrics}
    counted = label != "method"  # groups have a number of images each
    lines = [
        f"| {label} | {'n | ' if counted else ''}" + " | ".join(f"{m} {_arrow(m)}" for m in metrics) + " |",
        "|---" * (len(metrics) + 1 + counted) + "|",
    ]
    for name, results in rows.items():
        cells = (format_cell(results[m], interval) for m in metrics)
        marked = (f"**{cell}**" if best[m] == name else cell for m, cell in zip(metrics, cells, strict=True))
        n = f"{max(results[m]['n'] for m in metrics)} | " if counted else ""
        lines.append(f"| {name} | {n}" + " | ".join(marked) + " |")
    missing = why_missing(rows)
    return "\n".join([*lines, *([""] if missing else []), *missing]) + "\n"


def latex_table(rows: Mapping[str, Results], label: str = "method") -> str:
    """The same for a paper, with booktabs; what is not available is a dash."""
    metrics = list(next(iter(rows.values())))
    best = {metric: best_method(rows, metric) if label == "method" else None for metric in metrics}
    head = " & ".join([label, *(f"{m} ${_latex_arrow(m)}$".replace("_", r"\_") for m in metrics)])
    lines = [r"\begin{tabular}{l" + "r" * len(metrics) + "}", r"\toprule", head + r" \\", r"\midrule"]
    for name, results in rows.items():
        cells = ["--" if results[m]["mean"] is None else format_cell(results[m]) for m in metrics]
        marked = [rf"\textbf{{{c}}}" if best[m] == name else c for m, c in zip(metrics, cells, strict=True)]
        lines.append(" & ".join([name.replace("%", r"\%").replace("_", r"\_"), *marked]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _arrow(metric: str) -> str:
    return "↑" if higher_is_better(metric) else "↓"


def _latex_arrow(metric: str) -> str:
    return r"\uparrow" if higher_is_better(metric) else r"\downarrow"


def best_method(methods: Mapping[str, Results], metric: str) -> str | None:
    """The method that wins a column; None for a single method, or where nothing was measured."""
    measured = {name: r[metric]["mean"] for name, r in methods.items() if r[metric]["mean"] is not None}
    if len(measured) < 2:
        return None
    return (max if higher_is_better(metric) else min)(measured, key=lambda name: measured[name])


def about(
    what: Mapping[str, Any],  # predictions, evaluation set, number of images
    evaluator: Evaluator,  # that has seen all images
) -> dict[str, Any]:
    """What every number in a file stands under: protocol, files of weights, grouping, evaluation set, versions."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "lpips", "pytorch-fid")}
    return {
        "protocol": evaluator.protocol.describe(),
        "weights_sha256": dict(evaluator.weights_sha256),
        "unpublished_weights": list(evaluator.unpublished),
        "grouping": evaluator.grouping,
        "sizes": [list(size) for size in sorted(evaluator.sizes)],
        **what,
        "versions": {"lama": lama.__version__, **versions},
    }


def stamp(described: Mapping[str, Any]) -> str:
    """One line of what every number stands under, for the tables and the page."""
    sets = " ".join(name[:12] for name in described["evaluation_set"])
    versions = ", ".join(f"{name} {version}" for name, version in described["versions"].items())
    protocol = described["protocol"]["name"]
    size = " to ".join(dict.fromkeys(f"{w} x {h}" for h, w in (described["sizes"][0], described["sizes"][-1])))
    other = ", ".join(described["unpublished_weights"])
    weights = f"; weights that are not the published ones: {other}" if other else ""
    images = f"{described['images']} images of {size} pixels"
    return f"protocol {protocol}; {images}; evaluation set {sets}{weights}; {versions}"


def prepare(outdir: str | Path, overwrite: bool, keep_apart: Sequence[str | Path | None]) -> None:
    """Before an evaluation of hours: make the folder, see that it can be written to, refuse what would lose something.

    Raises FileExistsError for a folder with another evaluation, ValueError for one of ``keep_apart`` or no folder.
    """
    outdir = Path(outdir).expanduser()
    if any(folder is not None and outdir.resolve() == Path(folder).expanduser().resolve() for folder in keep_apart):
        raise ValueError(f"outdir={outdir}: holds the images; choose another folder for the results")
    if (outdir / "metrics.json").exists() and not overwrite:
        raise FileExistsError(
            f"outdir={outdir}: holds an evaluation; choose another, or replace it with overwrite=true"
        )
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        (outdir / ".probe").touch()
        (outdir / ".probe").unlink()
    except OSError as error:
        raise ValueError(f"outdir={outdir}: cannot be written to ({(error.strerror or str(error)).lower()})") from error


def write_results(
    outdir: str | Path,
    results: Results,
    groups: Mapping[str, Results],
    per_image: list[dict[str, Any]],
    described: Mapping[str, Any],  # as ``about`` makes it
    page: str,  # report.html, as ``report_page`` makes it
) -> Path:
    """Write per_image.csv, table.md, table.tex, report.html and, last, metrics.json, each whole or not at all."""
    outdir = Path(outdir)
    rows = io.StringIO()
    writer = csv.DictWriter(rows, list(per_image[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(per_image)
    content = {**described, "overall": results, "bins": dict(groups)}
    table = {**groups, "total": results}
    for name, text in (
        ("per_image.csv", rows.getvalue()),
        ("table.md", markdown_table(table, "mask area", interval=True) + f"\n{stamp(described)}\n"),
        ("table.tex", f"% {stamp(described)}\n" + latex_table(table, "mask area")),
        ("report.html", page),
        ("metrics.json", json.dumps(content, indent=2) + "\n"),
    ):
        with atomic_write(outdir / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return outdir

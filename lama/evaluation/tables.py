"""Results as files: metrics.json, per_image.csv, table.md, table.tex, report.html."""

import csv
import importlib.metadata
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lama
from lama import plugins
from lama.evaluation.evaluator import Evaluator
from lama.evaluation.metrics import arrow, higher_is_better
from lama.files import check_writable, write_text
from lama.machine.provenance import commit, environment, packages
from lama.pages.table import Table, escape_latex, text_cell, to_latex, to_markdown

Results = dict[str, dict[str, Any]]  # {metric: {"mean", "ci95", "n", "note"?}}, as Evaluator.compute returns


def format_cell(result: Mapping[str, Any], interval: bool = False) -> str:
    """A number with four significant digits, with its interval if ``interval``; n/a for a missing one."""
    if result["mean"] is None:
        return "n/a"
    ends = result.get("ci95") if interval else None
    return f"{result['mean']:.4g}" + (f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "")


def why_missing(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """One line for each reason of an n/a, such as ``fid: n/a, 30 images are too few (100)``."""
    notes = {
        f"{metric}: n/a, {str(result.get('note', 'not available')).removeprefix('not available: ')}": None
        for results in rows.values()
        for metric, result in results.items()
        if result["mean"] is None
    }
    return list(notes)


def results_table(
    rows: Mapping[str, Results], label: str = "method", interval: bool = False, none: str = "n/a"
) -> Table:
    """One row for each method (the best is marked) or group (with its number of images), one column for each metric."""
    metrics = list(next(iter(rows.values())))
    of_methods = label == "method"
    headings = [label, *([] if of_methods else ["n"]), *(f"{m} {arrow(m)}" for m in metrics)]
    best = {metric: best_method(rows, metric) if of_methods else None for metric in metrics}
    lines = []
    for name, results in rows.items():
        n = [] if of_methods else [text_cell(str(max(results[m]["n"] for m in metrics)))]
        texts = {m: none if results[m]["mean"] is None else format_cell(results[m], interval) for m in metrics}
        lines.append([text_cell(name), *n, *(text_cell(text, best[m] == name) for m, text in texts.items())])
    return Table(headings, lines)


def markdown_table(rows: Mapping[str, Results], label: str = "method", interval: bool = False) -> str:
    """``results_table`` in Markdown, and below it the reasons for cells without a number."""
    missing = why_missing(rows)
    lines = [*([""] if missing else []), *missing]
    return to_markdown(results_table(rows, label, interval)) + "".join(f"{line}\n" for line in lines)


def latex_table(rows: Mapping[str, Results], label: str = "method") -> str:
    """``results_table`` in LaTeX; metrics without any number are no columns but a note below, with the reasons."""
    has_number = lambda metric: any(results[metric]["mean"] is not None for results in rows.values())  # noqa: E731
    kept = list(filter(has_number, next(iter(rows.values()))))
    lost = {name: {m: result for m, result in results.items() if m not in kept} for name, results in rows.items()}
    note = "; ".join(why_missing(lost)) if kept else ""
    rows = {name: {m: results[m] for m in kept} for name, results in rows.items()} if kept else rows
    table = to_latex(results_table(rows, label, none="--"))
    return table + (f"\\par\\smallskip{{\\footnotesize {escape_latex(note)}.}}\n" if note else "")


def best_method(methods: Mapping[str, Results], metric: str) -> str | None:
    """The best method of a column; None for fewer than two measured methods."""
    measured = {name: r[metric]["mean"] for name, r in methods.items() if r[metric]["mean"] is not None}
    if len(measured) < 2:
        return None
    return (max if higher_is_better(metric) else min)(measured, key=lambda name: measured[name])


def about(what: Mapping[str, Any], evaluator: Evaluator) -> dict[str, Any]:
    """The conditions of an evaluation: protocol, weight files, grouping, evaluation set, versions.

    ``what`` has the predictions, the evaluation set and the number of images; ``evaluator`` has seen all of them.
    """
    return {
        "protocol": evaluator.protocol.describe(),
        "weights_sha256": dict(evaluator.weights_sha256),
        "unpublished_weights": list(evaluator.unpublished),
        "grouping": evaluator.grouping,
        "tf32": False,  # metrics are computed in float32, on every device
        "sizes": [list(size) for size in sorted(evaluator.sizes)],
        **what,
        "commit": commit(),
        "plugins": packages(plugins.used()),
        "environment": environment(),
        "versions": {"lama": lama.__version__, **versions()},
    }


def versions() -> dict[str, str]:
    """The versions of the packages that compute metrics."""
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy", "lpips", "pytorch-fid")}


def method(described: Mapping[str, Any]) -> str:
    """The method of an evaluation, such as ``baseline telea``; of a path the last two parts."""
    kinds = {"predictdir": "predictions in", "model.path": "model", "baseline": "baseline"}
    kind = kinds.get(described.get("predictions_by", ""), "predictions")
    return f"{kind} {'/'.join(Path(str(described.get('predictions', 'unknown'))).parts[-2:])}"


def compared_with(described: Mapping[str, Any]) -> str:
    """The truth of an evaluation: the images of the set, or the clean plates beside them (``truth=``)."""
    return f"the clean plates NAME{described['truth']}" if described.get("truth") else "the images"


def stamp(described: Mapping[str, Any]) -> str:
    """The method and the conditions of an evaluation in one line, for the tables and the page."""
    sets = " ".join(name[:12] for name in described["evaluation_set"])
    versions = ", ".join(f"{name} {version}" for name, version in described["versions"].items())
    protocol = described["protocol"]["name"]
    size = " to ".join(dict.fromkeys(f"{w} x {h}" for h, w in (described["sizes"][0], described["sizes"][-1])))
    other = ", ".join(described["unpublished_weights"])
    weights = f"; weights that are not the published ones: {other}" if other else ""
    images = f"{described['images']} images of {size} pixels"
    compared = f"{method(described)}; compared with {compared_with(described)}"
    return f"{compared}; protocol {protocol}; {images}; evaluation set {sets}{weights}; {versions}"


def prepare(outdir: str | Path, overwrite: bool, keep_apart: Sequence[str | Path | None]) -> None:
    """Make the output folder and test that it is writable, before an evaluation that may take hours.

    Raises FileExistsError for a folder that holds an evaluation, unless ``overwrite``; ValueError for a folder that is
    in ``keep_apart``; as ``check_writable`` does.
    """
    outdir = Path(outdir).expanduser()
    if any(folder is not None and outdir.resolve() == Path(folder).expanduser().resolve() for folder in keep_apart):
        raise ValueError(f"outdir={outdir}: holds the images; choose another folder for the results")
    if (outdir / "metrics.json").exists() and not overwrite:
        raise FileExistsError(f"outdir={outdir}: holds an evaluation; choose another, or use overwrite=true")
    check_writable(outdir, "outdir")
    outdir.mkdir(parents=True, exist_ok=True)


def write_results(
    outdir: str | Path,
    results: Results,
    groups: Mapping[str, Results],
    per_image: list[dict[str, Any]],
    described: Mapping[str, Any],  # as ``about`` makes it
    page: str,  # report.html, as ``report_page`` makes it
) -> Path:
    """Write per_image.csv, table.md, table.tex, report.html and, last, metrics.json, each atomically."""
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
        write_text(outdir / name, text)
    return outdir

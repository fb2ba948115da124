"""Results as files: metrics.json, per_image.csv, table.md, table.tex, and report.html with its plots."""

import csv
import importlib.metadata
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import lama
from lama.evaluation.evaluator import Evaluator
from lama.evaluation.metrics import METRICS, arrow, higher_is_better, measures_sets
from lama.files import write_text
from lama.interfaces import ImageArray, MaskArray
from lama.pages import data_url, image_url, render, with_hole
from lama.pages.page import Table, text_cell, to_latex, to_markdown

Results = dict[str, dict[str, Any]]  # {metric: {"mean", "ci95", "n", "note"?}}, as Evaluator.compute returns
INK, ACCENT, GRID = "#1c1917", "#be185d", "#e7e5e4"
SHOWN = 4  # images of each kind
Example = Callable[[str], tuple[ImageArray, MaskArray, ImageArray]]  # name -> image, mask, prediction


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
    """``results_table`` in LaTeX, with a dash for cells without a number."""
    return to_latex(results_table(rows, label, none="--"))


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
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "lpips", "pytorch-fid")}
    return {
        "protocol": evaluator.protocol.describe(),
        "weights_sha256": dict(evaluator.weights_sha256),
        "unpublished_weights": list(evaluator.unpublished),
        "grouping": evaluator.grouping,
        "tf32": False,  # metrics are computed in float32, on every device
        "sizes": [list(size) for size in sorted(evaluator.sizes)],
        **what,
        "versions": {"lama": lama.__version__, **versions},
    }


def stamp(described: Mapping[str, Any]) -> str:
    """The conditions of an evaluation in one line, for the tables and the page."""
    sets = " ".join(name[:12] for name in described["evaluation_set"])
    versions = ", ".join(f"{name} {version}" for name, version in described["versions"].items())
    protocol = described["protocol"]["name"]
    size = " to ".join(dict.fromkeys(f"{w} x {h}" for h, w in (described["sizes"][0], described["sizes"][-1])))
    other = ", ".join(described["unpublished_weights"])
    weights = f"; weights that are not the published ones: {other}" if other else ""
    images = f"{described['images']} images of {size} pixels"
    return f"protocol {protocol}; {images}; evaluation set {sets}{weights}; {versions}"


def prepare(outdir: str | Path, overwrite: bool, keep_apart: Sequence[str | Path | None]) -> None:
    """Make the output folder and test that it is writable, before an evaluation that may take hours.

    Raises FileExistsError for a folder that holds an evaluation, unless ``overwrite``; ValueError for a folder that is
    in ``keep_apart`` or not writable.
    """
    outdir = Path(outdir).expanduser()
    if any(folder is not None and outdir.resolve() == Path(folder).expanduser().resolve() for folder in keep_apart):
        raise ValueError(f"outdir={outdir}: holds the images; choose another folder for the results")
    if (outdir / "metrics.json").exists() and not overwrite:
        raise FileExistsError(f"outdir={outdir}: holds an evaluation; choose another, or use overwrite=true")
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
        title=f"evaluation of {Path(described['predictions']).name}",
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
    figure, axes = plt.subplots(rows, 3, figsize=(11, 2.5 * rows), squeeze=False, layout="constrained")
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

"""A comparison as a table to print, and as files: comparison.md, .tex, .csv, .json."""

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lama.evaluation.metrics import METRICS, arrow
from lama.files import write_text
from lama.pages.table import Table, text_cell, to_latex, to_markdown

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]  # {other: {metric: comparison}}, as ``compare_all`` gives them


def comparison_table(results: Results, first: str) -> Table:
    """One row for each metric and each other model; ``first`` is the name of the model that all are compared with."""
    headings = ["metric", "other", first, "the other", f"{first} - other", "95 %, images", "95 %, seeds",
                f"{first} better", "other better", "equal", "p", "p (Holm)"]  # fmt: skip
    rows = [
        [
            f"{METRICS[metric].label} {arrow(metric)}", other, METRICS[metric].text(one["a"]),
            METRICS[metric].text(one["b"]), f"{one['difference']:+.4g}" if one["n"] else "n/a", _interval(one["ci95"]),
            _interval(one["seeds_ci95"]), str(one["wins"]), str(one["losses"]), str(one["ties"]), f"{one['p']:.2g}",
            f"{one['p_holm']:.2g}",
        ]
        for metric in next(iter(results.values()))
        for other, one in ((other, found[metric]) for other, found in results.items())
    ]  # fmt: skip
    return Table(headings, [[text_cell(text) for text in row] for row in rows], text_columns=2)


def explanation(results: Results, first: str, of_seeds: bool) -> str:
    """The meaning of the columns of the table, in lines for a terminal."""
    n, seeds = max((one["n"], one["seeds"]) for found in results.values() for one in found.values())
    trained = "{} and {} seeds".format(*seeds) if of_seeds else "one evaluation each"
    return f"""{n} images, {trained}. {first} - other: the difference, with intervals over images (bootstrap)
and over trainings (Welch's t, if both have two or more). better, equal: numbers of images. p: the larger p of two
t-tests, paired over images and Welch's over trainings. p (Holm): corrected for the number of models that are
compared with {first}; a difference is established if it is below 0.05. Metrics of whole sets (FID, KID, ...) have
no paired comparison."""


def write_comparison(outdir: str | Path, results: Results, first: str, about: str) -> None:
    """Write the table as Markdown and LaTeX, and every number as CSV and JSON; ``about`` explains the columns."""
    table = comparison_table(results, first)
    for name, text in (
        ("comparison.json", json.dumps({"first": first, "others": results}, indent=2) + "\n"),
        ("comparison.csv", _lines(results, first)),
        ("comparison.tex", _latex(table, about)),
        ("comparison.md", f"{to_markdown(table)}\n{about}\n"),
    ):
        write_text(Path(outdir) / name, text)


def _latex(table: Table, about: str) -> str:
    """The table, at most as wide as the text; it needs the packages booktabs and graphicx."""
    comment = "".join(f"% {line}\n" for line in about.splitlines())
    content = re.sub(r"(?<![\w.])-(?=\d)", "$-$", to_latex(table).strip())
    width = r"\ifdim\width>\textwidth\textwidth\else\width\fi"
    return f"{comment}\\noindent\\resizebox{{{width}}}{{!}}{{%\n{content}}}\n"


def _lines(results: Results, first: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = ["a", "b", "difference", "n", "wins", "losses", "ties", "p", "p_holm"]
    writer.writerow(["metric", "first", "model", *keys, "ci95_low", "ci95_high", "seeds_low", "seeds_high"])
    for other, found in results.items():
        for metric, one in found.items():
            ends = [end for key in ("ci95", "seeds_ci95") for end in (one[key] or ("", ""))]
            writer.writerow([metric, first, other, *(one[key] for key in keys), *ends])
    return out.getvalue()


def _interval(ends: tuple[float, float] | None) -> str:
    return "n/a" if ends is None else "{:+.4g} to {:+.4g}".format(*ends)

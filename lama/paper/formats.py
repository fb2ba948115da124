"""The filled tables of the paper as Markdown, LaTeX, HTML and JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lama
from lama.evaluation.metrics import METRICS, arrow, higher_is_better
from lama.pages import data_url, render
from lama.pages.table import TIMES, Span, Style, Table, escape_latex, text_cell, to_latex, to_markdown
from lama.paper.cells import Cell, FilledRow, FilledTable, Ours

LEGEND = (
    "Each cell: ours [95 % interval] / the paper's; only ours for a metric that the paper does not report.",
    "▲ and ▼: larger or smaller than the baseline, in per cent of it (PSNR: in dB).",
    "—: not evaluated, or not published; n/a: evaluated, but without a number.",
    "The headings name the paper's evaluation sets. They were not released: ours have other crops and masks.",
)


def heading(metric: str) -> str:
    """The label of a metric with its direction, such as ``FID ↓``."""
    return f"{METRICS[metric].label} {arrow(metric)}"


def change(metric: str, value: float | None) -> str:
    """A change such as ``▲30 %`` or ``▼0.51 dB``; empty where it rounds to 0."""
    if value is None:
        return ""
    unit = METRICS[metric].unit
    size = f"{abs(value):.2f} {unit}" if unit else f"{abs(value):.0f} %"
    return "" if float(size.split()[0]) == 0 else f"{'▲' if value > 0 else '▼'}{size}"


def ours_text(metric: str, ours: Ours | None) -> tuple[str, str]:
    """(number, its interval or standard deviation); the second may be empty."""
    if ours is None or ours.mean is None:
        return "—" if ours is None else "n/a", ""
    text = METRICS[metric].text
    if ours.std is not None:
        return text(ours.mean), f"± {ours.std:.2g}"
    ends = "" if ours.ci95 is None else f"[{', '.join(map(text, ours.ci95))}]"
    return text(ours.mean), ends


def notes_of(table: FilledTable) -> list[str]:
    """The footnotes of a table in the order of their cells; the mark of the i-th is i + 1."""
    cells = (cell for row in (*table.rows, *table.others) for cell in row.cells)
    return list(dict.fromkeys(note for cell in cells if cell.ours for note in cell.ours.notes))


def marks(table: FilledTable, ours: Ours | None) -> str:
    """The marks of the footnotes of a cell, such as "1,3"."""
    notes = notes_of(table)
    return ",".join(str(i) for i in sorted(notes.index(note) + 1 for note in ours.notes)) if ours else ""


def spans(table: FilledTable) -> list[tuple[str, int]]:
    """(title, such as ``Places (512 x 512), wide masks``; number of metrics) of each column of the paper."""
    per = len(table.fields) // len(table.paper.columns)
    return [(f"{c.dataset} ({c.size} {TIMES} {c.size}), {c.masks.lower()}", per) for c in table.paper.columns]


def as_table(table: FilledTable) -> Table:
    """The table for the writers of ``lama.pages.table``."""
    rows = [
        [
            *map(text_cell, row.about),
            *(_spans(metric, c, marks(table, c.ours)) for (_, metric), c in zip(table.fields, row.cells, strict=True)),
        ]
        for row in (*table.rows, *table.others)
    ]
    return Table(
        headings=[*table.paper.headings, *(heading(metric) for _, metric in table.fields)],
        rows=rows,
        text_columns=len(table.paper.headings),
        groups=spans(table),
        rule_before=len(table.rows) if table.others else None,
    )


def _spans(metric: str, content: Cell, mark: str) -> list[Span]:
    """Ours, its interval, its change, the marks of its footnotes / the paper's number, its change."""
    ranked: dict[int | None, Style] = {1: "best", 2: "second", None: ""}
    text, interval = ours_text(metric, content.ours)
    ours = [Span(text, ranked[content.ours_rank]), Span(interval, "below")]
    ours += [Span(change(metric, content.ours_change), "small"), Span(mark, "mark")]
    if not content.reported:
        return ours
    paper = Span(content.paper.text if content.paper else "—", ranked[content.paper_rank])
    return [*ours, Span(" / "), paper, Span(change(metric, content.paper_change), "small")]


def markdown(tables: Sequence[FilledTable], unplaced: Sequence[str]) -> str:
    """All tables with their footnotes; the best in bold, the second in italics, of ours and of the paper's."""
    parts = ["# The paper's tables", " ".join(LEGEND) + " **Best** and _second_ of each column are marked."]
    for table in tables:
        parts += [f"## {title(table)}", to_markdown(as_table(table)).rstrip("\n")]
        footnotes = [f"{i}. {note}" for i, note in enumerate(notes_of(table), start=1)]
        parts += ["\n".join(footnotes)] if footnotes else []
    if unplaced:
        parts += ["## Evaluations that fit no cell", "\n".join(f"- {name}" for name in unplaced)]
    return "\n\n".join(parts) + "\n"


def latex(tables: Sequence[FilledTable]) -> str:
    """One ``table*`` for each table, for ``\\input``; the best in bold, the second underlined."""
    lines = [r"% \usepackage{booktabs,graphicx,amssymb}"]
    for table in tables:
        under = " ".join([*LEGEND, *(f"({i}) {note}." for i, note in enumerate(notes_of(table), start=1))])
        lines += [
            r"\begin{table*}", r"\centering", rf"\caption{{{escape_latex(title(table).partition(': ')[2])}.}}",
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            to_latex(as_table(table)).rstrip("\n") + "}",
            r"\par\smallskip\raggedright\footnotesize", escape_latex(under), r"\end{table*}", "",
        ]  # fmt: skip
    return "\n".join(lines)


def html(tables: Sequence[FilledTable], unplaced: Sequence[str], runs: str, plot: bytes | None) -> str:
    """One self-contained page, in light or dark colours as the browser prefers."""
    return render(
        "tables",
        tables=tables, unplaced=unplaced, runs=runs, legend=LEGEND, version=lama.__version__,
        plot=data_url(plot, "image/png") if plot else None,
        heading=heading, ours_text=ours_text, change=change, title=title, spans=spans,
        marks=marks, notes_of=notes_of, worse=lambda m, v: (v > 0) != higher_is_better(m),
    )  # fmt: skip


def as_data(tables: Sequence[FilledTable], unplaced: Sequence[str], reference: str) -> dict[str, Any]:
    """The tables as plain values for JSON, every number with its source, set and protocol."""
    return {
        "paper": reference,
        "lama": lama.__version__,
        "tables": [
            {
                "number": table.paper.number,
                "title": table.paper.title,
                "baseline": table.paper.baseline,
                "headings": table.paper.headings,
                "rows": [_row_data(table, row) for row in table.rows],
                "other_runs": [_row_data(table, row) for row in table.others],
            }
            for table in tables
        ],
        "unplaced": list(unplaced),
    }


def _row_data(table: FilledTable, row: FilledRow) -> dict[str, Any]:
    cells = []
    for (column, metric), cell in zip(table.fields, row.cells, strict=True):
        ours = {k: v for k, v in asdict(cell.ours).items() if k != "conditions"} if cell.ours else None
        where = {"column": column.key, "evaluation_set": column.set_name(table.size), "metric": metric}
        paper = {**asdict(cell.paper), "value": cell.paper.value} if cell.paper else None
        rest = {k: getattr(cell, k) for k in ("ours_change", "paper_change", "ours_rank", "paper_rank")}
        cells.append({**where, "ours": ours, "paper": paper, **rest})
    return {"about": row.about, "run": row.run, "cells": cells}


def title(table: FilledTable) -> str:
    """The number, title and baseline of a table."""
    return f"Table {table.paper.number}: {table.paper.title}; baseline: {table.paper.baseline}"

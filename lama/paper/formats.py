"""Filled tables as Markdown, LaTeX, HTML, JSON and CSV: the paper's, and tables of the user."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import lama
from lama.evaluation.metrics import METRICS, arrow, higher_is_better
from lama.pages import data_url, render
from lama.pages.table import Span, Style, Table, escape_latex, text_cell, to_latex, to_markdown
from lama.paper.cells import Cell, FilledRow, FilledTable, Ours

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Document:
    """Tables that are written together, with the words around them."""

    heading: str
    legend: Sequence[str]
    tables: Sequence[FilledTable]
    source: str  # where the evaluations are
    remarks: tuple[str, Sequence[str]]  # a heading and its lines, such as evaluations that fit no cell
    reference: str | None = None  # of the published numbers


PAPER_LEGEND = (
    "Each cell: ours [95 % interval] / the paper's; only ours for a metric that the paper does not report.",
    "▲ and ▼: larger or smaller than the baseline, in per cent of it (PSNR: in dB).",
    "—: not evaluated, or not published; n/a: evaluated, but without a number.",
    "The headings name the paper's evaluation sets. They were not released: ours have other crops and masks.",
)
OWN_LEGEND = (
    "Each cell: the mean [95 % interval over images], or ± the standard deviation of several seeds.",
    "Δ: the row minus {baseline} [95 % interval over images, paired]. *: established (p < 0.05, Holm's correction over"
    " the rows of a column). p is the larger of two t-tests, one over images and, if both rows have several seeds, one"
    " over trainings: so an interval over images that excludes 0 may have no star.",
    "—: not evaluated; n/a: evaluated, but without a number.",
)


def heading(metric: str, labels: Mapping[str, str] = MappingProxyType({})) -> str:
    """The label of a metric with its direction, such as ``FID ↓``; ``labels`` has the labels of unknown metrics."""
    return labels.get(metric) or f"{METRICS[metric].label} {arrow(metric)}"


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
        mean = text(ours.mean)
        return mean, f"± {ours.std:.{_digits(mean)}f}"
    ends = "" if ours.ci95 is None else f"[{', '.join(map(text, ours.ci95))}]"
    return text(ours.mean), ends


def below(metric: str, cell: Cell) -> str:
    """The second line of a cell: the difference to the baseline with its interval, else the interval of the number."""
    text, interval = ours_text(metric, cell.ours)
    difference = cell.difference
    if difference is None:
        return interval
    signed, *ends = (_signed(value, _digits(text)) for value in (difference.mean, *(difference.ci95 or ())))
    spread = f"{interval} " if interval.startswith("±") else ""
    established = "*" if difference.p_holm is not None and difference.p_holm < SIGNIFICANT else ""
    return f"{spread}Δ {signed}" + (f" [{', '.join(ends)}]" if ends else "") + established


def _digits(number: str) -> int:
    """The decimals of a printed number: its deviation and its difference get as many."""
    return len(number.partition(".")[2])


def _signed(value: float, digits: int) -> str:
    text = f"{value:+z.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if text.strip("+0.") else text[1:]  # zero has no sign


def shared_notes(table: FilledTable) -> list[str]:
    """The notes that every number of a user's table has: its legend states them, once."""
    cells = [cell.ours for row in (*table.rows, *table.others) for cell in row.cells if cell.ours]
    numbers = [ours.notes for ours in cells if ours.mean is not None]
    if table.layout.number is not None or not numbers:
        return []
    return [note for note in numbers[0] if all(note in notes for notes in numbers)]


def notes_of(table: FilledTable) -> list[str]:
    """The footnotes of a table in the order of their cells; the mark of the i-th is i + 1."""
    cells = (cell for row in (*table.rows, *table.others) for cell in row.cells)
    found = dict.fromkeys(note for cell in cells if cell.ours for note in cell.ours.notes)
    return [note for note in found if note not in shared_notes(table)]


def marks(table: FilledTable, ours: Ours | None) -> str:
    """The marks of the footnotes of a cell, such as "1,3"."""
    notes = notes_of(table)
    return ",".join(str(i) for i, note in enumerate(notes, start=1) if ours and note in ours.notes)


def spans(table: FilledTable) -> list[tuple[str, int]]:
    """(title of the evaluation set, number of metrics) of each column of the layout."""
    per = len(table.fields) // len(table.layout.columns)
    return [(column.title, per) for column in table.layout.columns]


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
        headings=[*table.layout.headings, *(heading(metric, table.layout.labels) for _, metric in table.fields)],
        rows=rows,
        text_columns=len(table.layout.headings),
        groups=spans(table),
        rule_before=len(table.rows) if table.others else None,
    )


def _spans(metric: str, content: Cell, mark: str) -> list[Span]:
    """Ours, its interval, its change, the marks of its footnotes / the paper's number, its change."""
    ranked: dict[int | None, Style] = {1: "best", 2: "second", None: ""}
    if content.paper and not content.reported:
        return [Span(content.paper.text, ranked[content.paper_rank])]
    text, _ = ours_text(metric, content.ours)
    ours = [Span(text, ranked[content.ours_rank]), Span(below(metric, content), "below")]
    ours += [Span(change(metric, content.ours_change), "small"), Span(mark, "mark")]
    if not content.reported:
        return ours
    paper = Span(content.paper.text if content.paper else "—", ranked[content.paper_rank])
    return [*ours, Span(" / "), paper, Span(change(metric, content.paper_change), "small")]


def markdown(document: Document) -> str:
    """All tables with their footnotes; the best in bold, the second in italics, of ours and of the paper's."""
    legend = " ".join(document.legend) + " **Best** and _second_ of each column are marked."
    parts = [f"# {document.heading}", legend]
    for table in document.tables:
        parts += [f"## {title(table)}", to_markdown(as_table(table)).rstrip("\n")]
        footnotes = [f"{i}. {note}" for i, note in enumerate(notes_of(table), start=1)]
        parts += ["\n".join(footnotes)] if footnotes else []
    about, lines = document.remarks
    if lines:
        parts += [f"## {about}", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def latex(document: Document) -> str:
    """One ``table*`` for each table, for ``\\input``; the best in bold, the second underlined."""
    lines = [r"% \usepackage{booktabs,graphicx,amssymb}"]
    for table in document.tables:
        under = " ".join([*document.legend, *(f"({i}) {note}." for i, note in enumerate(notes_of(table), start=1))])
        caption = title(table) if table.layout.number is None else title(table).partition(": ")[2]
        lines += [
            r"\begin{table*}", r"\centering", rf"\caption{{{escape_latex(caption)}.}}",
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            to_latex(as_table(table)).rstrip("\n") + "}",
            r"\par\smallskip\raggedright\footnotesize", escape_latex(under), r"\end{table*}", "",
        ]  # fmt: skip
    return "\n".join(lines)


def html(document: Document, plot: bytes | None) -> str:
    """One self-contained page, in light or dark colours as the browser prefers."""
    return render(
        "tables",
        document=document, version=lama.__version__, plot=data_url(plot, "image/png") if plot else None,
        heading=heading, ours_text=ours_text, below=below, change=change, title=title, spans=spans,
        marks=marks, notes_of=notes_of, worse=lambda m, v: (v > 0) != higher_is_better(m),
    )  # fmt: skip


def as_data(document: Document) -> dict[str, Any]:
    """The tables as plain values for JSON, every number with its source, set and protocol."""
    return {
        "paper": document.reference,
        "lama": lama.__version__,
        "tables": [
            {
                "number": table.layout.number,
                "title": table.layout.title,
                "baseline": table.layout.baseline,
                "headings": table.layout.headings,
                "rows": [_row_data(table, row) for row in table.rows],
                "other_runs": [_row_data(table, row) for row in table.others],
            }
            for table in document.tables
        ],
        "unplaced" if document.reference else "warnings": list(document.remarks[1]),
    }


def _row_data(table: FilledTable, row: FilledRow) -> dict[str, Any]:
    cells = []
    for (column, metric), cell in zip(table.fields, row.cells, strict=True):
        ours = {k: v for k, v in asdict(cell.ours).items() if k != "conditions"} if cell.ours else None
        where = {"column": column.key, "evaluation_set": column.set_name(table.size), "metric": metric}
        paper = {**asdict(cell.paper), "value": cell.paper.value} if cell.paper else None
        difference = asdict(cell.difference) if cell.difference else None
        rest = {k: getattr(cell, k) for k in ("ours_change", "paper_change", "ours_rank", "paper_rank")}
        cells.append({**where, "ours": ours, "paper": paper, "difference": difference, **rest})
    return {"about": row.about, "run": row.run, "cost": row.cost, "cells": cells}


def as_csv(document: Document) -> str:
    """One line for each number: table, row, set, metric, mean, deviation, interval, n, difference, p, published."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "row", "set", "metric", "mean", "std", "ci95_low", "ci95_high", "n", "difference",
                     "difference_low", "difference_high", "p", "p_holm", "published"])  # fmt: skip
    for table in document.tables:
        for row in (*table.rows, *table.others):
            for (column, metric), cell in zip(table.fields, row.cells, strict=True):
                ours, difference = cell.ours or Ours(None), cell.difference
                shift = (difference.mean, *(difference.ci95 or ("", ""))) if difference else ("", "", "")
                p = (difference.p, difference.p_holm) if difference else ("", "")
                numbers = [ours.mean, ours.std, *(ours.ci95 or ("", "")), ours.n or "", *shift, *p]
                name = [table.layout.number or table.layout.title, row.run or " ".join(row.about)]
                paper = cell.paper.text if cell.paper else ""
                writer.writerow([*name, column.set_name(table.size), metric, *numbers, paper])
    return out.getvalue()


def title(table: FilledTable) -> str:
    """The number, title and baseline of a table."""
    number = "" if table.layout.number is None else f"Table {table.layout.number}: "
    return f"{number}{table.layout.title}" + (f"; baseline: {table.layout.baseline}" if table.layout.baseline else "")

"""The filled tables of the paper as Markdown, LaTeX, HTML and JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lama
from lama.evaluation.evaluator import higher_is_better
from lama.pages import data_url, render
from lama.paper.cells import Cell, FilledRow, FilledTable, Ours
from lama.paper.published import Column

NAMES = {
    "fid": "FID",
    "kid": "KID",
    "p_ids": "P-IDS",
    "u_ids": "U-IDS",
    "lpips_vgg": "LPIPS",  # as the paper calls it
    "lpips_alex": "LPIPS (alex)",
    "lpips_squeeze": "LPIPS (squeeze)",
}
LEGEND = (
    "Each cell: ours [95 % interval] / the paper's; ours alone for a metric that the paper does not report.",
    "▲ and ▼: larger or smaller than the baseline, in per cent of it (PSNR: in dB), of the numbers shown.",
    "— is missing: not evaluated, or not published; n/a: evaluated, but without a number.",
    "The headings say what the paper's are of. Its evaluation sets were not released: ours are other crops and masks.",
)
TIMES = "\N{MULTIPLICATION SIGN}"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", TIMES: r"$\times$", "—": "---",
    "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip


def number(metric: str, value: float) -> str:
    """As the paper prints it: FID with three digits, LPIPS with three decimals; others with four digits."""
    if metric == "fid":
        return f"{value:.{2 if value < 9.995 else 1}f}"
    return f"{value:.3f}" if metric.startswith("lpips") else f"{value:#.4g}".rstrip(".")


def heading(metric: str) -> str:
    """The name of a metric, with the direction in which it is better."""
    return f"{NAMES.get(metric, metric)} {'↑' if higher_is_better(metric) else '↓'}"


def change(metric: str, value: float | None) -> str:
    """``▲30 %``; empty where there is no difference at the precision shown."""
    if value is None:
        return ""
    size = f"{abs(value):.2f} dB" if metric.startswith("psnr") else f"{abs(value):.0f} %"
    return "" if float(size.split()[0]) == 0 else f"{'▲' if value > 0 else '▼'}{size}"


def ours_text(metric: str, ours: Ours | None) -> tuple[str, str]:
    """(number, what says how sure it is), each perhaps empty."""
    if ours is None or ours.mean is None:
        return "—" if ours is None else "n/a", ""
    if ours.std is not None:
        return number(metric, ours.mean), f"± {ours.std:.2g}"
    ends = "" if ours.ci95 is None else f"[{number(metric, ours.ci95[0])}, {number(metric, ours.ci95[1])}]"
    return number(metric, ours.mean), ends


def notes_of(table: FilledTable) -> list[str]:
    """The footnotes of a table, in the order in which a reader meets them; number i + 1 is the mark of the i-th."""
    cells = (cell for row in (*table.rows, *table.others) for cell in row.cells)
    return list(dict.fromkeys(note for cell in cells if cell.ours for note in cell.ours.notes))


def marks(table: FilledTable, ours: Ours | None) -> str:
    """The marks of the footnotes of a cell, "1,3" say."""
    notes = notes_of(table)
    return ",".join(str(i) for i in sorted(notes.index(note) + 1 for note in ours.notes)) if ours else ""


def spans(table: FilledTable) -> list[tuple[str, int]]:
    """(data set and masks, number of metrics) of each column of the paper."""
    per = len(table.fields) // len(table.paper.columns)
    return [(column_title(column), per) for column in table.paper.columns]


def column_title(column: Column) -> str:
    """``Places (512 x 512), wide masks``: what the published numbers are of."""
    return f"{column.dataset} ({column.size} {TIMES} {column.size}), {column.masks.lower()}"


def markdown(tables: Sequence[FilledTable], unplaced: Sequence[str]) -> str:
    """All tables, each with its footnotes; best in bold, second in italics, of ours and of the paper's."""
    parts = ["# The paper's tables", " ".join(LEGEND) + " **Best** and _second_ of each column are marked."]
    for table in tables:
        heads = [f"{column_title(column)}: {heading(metric)}" for column, metric in table.fields]
        head = "| " + " | ".join([*table.paper.headings, *heads]) + " |"
        lines = [head, "|---" * (len(table.paper.headings) + len(heads)) + "|"]
        for row in (*table.rows, *table.others):
            cells = [
                _markdown_cell(m, cell, marks(table, cell.ours))
                for (_, m), cell in zip(table.fields, row.cells, strict=True)
            ]
            about = [entry.replace("|", r"\|") for entry in row.about]
            lines.append("| " + " | ".join([*about, *cells]) + " |")
        parts += [f"## {title(table)}", "\n".join(lines)]
        footnotes = [f"{i}. {note}" for i, note in enumerate(notes_of(table), start=1)]
        parts += ["\n".join(footnotes)] if footnotes else []
    if unplaced:
        parts += ["## Evaluations that fit no cell", "\n".join(f"- {name}" for name in unplaced)]
    return "\n\n".join(parts) + "\n"


def latex(tables: Sequence[FilledTable]) -> str:
    """One ``table*`` each, to be read with ``\\input``; best in bold, second underlined."""
    lines = [r"% \usepackage{booktabs,graphicx,amssymb}"]
    for table in tables:
        about = len(table.paper.headings)
        lines += [r"\begin{table*}", r"\centering", rf"\caption{{{_escape(title(table).partition(': ')[2])}.}}"]
        lines += [
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{'l' * about}{'r' * len(table.fields)}}}",
        ]
        lines += [r"\toprule", *_latex_head(table), r"\midrule"]
        for i, row in enumerate((*table.rows, *table.others)):
            if table.others and i == len(table.rows):
                lines.append(r"\midrule")
            cells = [
                _latex_cell(m, cell, marks(table, cell.ours))
                for (_, m), cell in zip(table.fields, row.cells, strict=True)
            ]
            lines.append(" & ".join([*map(_escape, row.about), *cells]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}"]
        under = " ".join([*LEGEND, *(f"({i}) {note}." for i, note in enumerate(notes_of(table), start=1))])
        lines += [r"\par\smallskip\raggedright\footnotesize", _escape(under), r"\end{table*}", ""]
    return "\n".join(lines)


def html(tables: Sequence[FilledTable], unplaced: Sequence[str], runs: str, plot: bytes | None) -> str:
    """One page that needs no other file, light or dark as the reader has it."""
    return render(
        "tables",
        tables=tables, unplaced=unplaced, runs=runs, legend=LEGEND, version=lama.__version__,
        plot=data_url(plot, "image/png") if plot else None,
        heading=heading, ours_text=ours_text, change=change, title=title, spans=spans,
        marks=marks, notes_of=notes_of, worse=lambda m, v: (v > 0) != higher_is_better(m),
    )  # fmt: skip


def as_data(tables: Sequence[FilledTable], unplaced: Sequence[str], reference: str) -> dict[str, Any]:
    """Everything as plain values for JSON, every number with its source, set and protocol."""
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
        ours = {k: v for k, v in asdict(cell.ours).items() if k != "under"} if cell.ours else None
        where = {"column": column.key, "evaluation_set": column.set_name(table.size), "metric": metric}
        paper = {**asdict(cell.paper), "value": cell.paper.value} if cell.paper else None
        rest = {k: getattr(cell, k) for k in ("ours_change", "paper_change", "ours_rank", "paper_rank")}
        cells.append({**where, "ours": ours, "paper": paper, **rest})
    return {"about": row.about, "run": row.run, "cells": cells}


def title(table: FilledTable) -> str:
    """Number, title and baseline of a table."""
    return f"Table {table.paper.number}: {table.paper.title}; baseline: {table.paper.baseline}"


def _markdown_cell(metric: str, cell: Cell, mark: str) -> str:
    ranked = {1: "**{}**", 2: "_{}_", None: "{}"}
    text, sure = ours_text(metric, cell.ours)
    ours = [ranked[cell.ours_rank].format(text), sure, change(metric, cell.ours_change)]
    paper = [ranked[cell.paper_rank].format(cell.paper.text if cell.paper else "—"), change(metric, cell.paper_change)]
    sup = f"<sup>{mark}</sup>" if mark else ""
    return " ".join(filter(None, ours)) + sup + (" / " + " ".join(filter(None, paper)) if cell.reported else "")


def _latex_cell(metric: str, cell: Cell, mark: str) -> str:
    ranked = {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}", None: "{}"}
    small = lambda text: rf"{{\scriptsize {_escape(text)}}}" if text else ""  # noqa: E731
    text, sure = ours_text(metric, cell.ours)
    ours = ranked[cell.ours_rank].format(_escape(text)) + (f"$^{{{mark}}}$" if mark else "")
    paper = ranked[cell.paper_rank].format(_escape(cell.paper.text if cell.paper else "—"))
    first = ours + small(change(metric, cell.ours_change))
    first += f" / {paper}{small(change(metric, cell.paper_change))}" if cell.reported else ""
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{first}\\{small(sure)}\end{{tabular}}" if sure else first


def _latex_head(table: FilledTable) -> list[str]:
    about = len(table.paper.headings)
    groups, rules, start = [], [], about + 1
    for name, n in spans(table):
        groups.append(rf"\multicolumn{{{n}}}{{c}}{{{_escape(name)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + n - 1}}}")
        start += n
    heads = [*table.paper.headings, *(heading(metric) for _, metric in table.fields)]
    return [" & ".join([*[""] * about, *groups]) + r" \\", "".join(rules), " & ".join(map(_escape, heads)) + r" \\"]


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)

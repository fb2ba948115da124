"""A table as an object, and its two writers: Markdown and LaTeX."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Style = Literal["", "best", "second", "small", "below", "mark"]
TIMES = "\N{MULTIPLICATION SIGN}"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "Δ": r"$\Delta$",
    "\N{MINUS SIGN}": "$-$", "<": "$<$", ">": "$>$", TIMES: r"$\times$", "—": "---",
    "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip
_MARKDOWN_STYLES: dict[Style, str] = {
    "": "{}", "best": "**{}**", "second": "_{}_", "small": " {}", "below": " {}", "mark": "<sup>{}</sup>",
}  # fmt: skip
_LATEX_STYLES: dict[Style, str] = {
    "": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "small": r"{{\scriptsize {}}}",
    "below": r"{{\scriptsize {}}}", "mark": "$^{{{}}}$",
}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """Text in one style. In LaTeX, ``below`` is a second line of its cell."""

    text: str
    style: Style = ""


Cell = Sequence[Span]  # spans without text are not written


@dataclass(frozen=True)
class Table:
    """Headings, and rows with a cell for each. The first ``text_columns`` columns are aligned to the left."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: int = 1
    groups: Sequence[tuple[str, int]] = field(default=())  # (title, number of columns) above the other columns
    rule_before: int | None = None  # the index of a row under a horizontal rule


def text_cell(text: str, best: bool = False) -> Cell:
    """A cell with a single text, perhaps marked as the best."""
    return (Span(text, "best" if best else ""),)


def to_markdown(table: Table) -> str:
    """The table in Markdown, which has no groups: each heading of a group begins with the title of the group."""
    titles = [f"{title}: " for title, n in table.groups for _ in range(n)] or [""] * len(table.headings)
    titles = [""] * (len(table.headings) - len(titles)) + titles
    lines = [
        _markdown_row([title + heading for title, heading in zip(titles, table.headings, strict=True)]),
        "|---" * len(table.headings) + "|",
    ]
    for row in table.rows:
        cells = ["".join(_MARKDOWN_STYLES[s.style].format(s.text) for s in spans if s.text) for spans in row]
        lines.append(_markdown_row(cells))
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def to_latex(table: Table) -> str:
    """A ``tabular`` in LaTeX, with the packages booktabs and (for ▲ and ▼) amssymb."""
    numbers = len(table.headings) - table.text_columns
    lines = [rf"\begin{{tabular}}{{{'l' * table.text_columns}{'r' * numbers}}}", r"\toprule"]
    if table.groups:
        lines += _latex_groups(table)
    lines += [_latex_row(map(escape_latex, table.headings)), r"\midrule"]
    for i, row in enumerate(table.rows):
        lines += [r"\midrule"] if i == table.rule_before else []
        lines.append(_latex_row(map(_latex_cell, row)))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_groups(table: Table) -> list[str]:
    titles, rules, start = [""] * table.text_columns, [], table.text_columns + 1
    for title, n in table.groups:
        titles.append(rf"\multicolumn{{{n}}}{{c}}{{{escape_latex(title)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + n - 1}}}")
        start += n
    return [_latex_row(titles), "".join(rules)]


def _latex_cell(spans: Cell) -> str:
    first, below = (
        "".join(_LATEX_STYLES[s.style].format(escape_latex(s.text)) for s in spans if s.text and on_line(s))
        for on_line in (lambda s: s.style != "below", lambda s: s.style == "below")
    )
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{first}\\{below}\end{{tabular}}" if below else first


def escape_latex(text: str) -> str:
    """Text with the characters that are special in LaTeX escaped."""
    return "".join(_LATEX.get(character, character) for character in text)

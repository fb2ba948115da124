"""Render the templates of this folder, embed images in a page, and write a table in Markdown and LaTeX."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jinja2
import numpy as np
from PIL import Image

from lama.interfaces import ImageArray, MaskArray

PINK = np.array([236, 72, 153], np.uint8)  # a colour that is rare in photographs
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("lama.pages", ""),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
Style = Literal["", "best", "second", "small", "below", "mark"]
TIMES = "\N{MULTIPLICATION SIGN}"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", TIMES: r"$\times$", "—": "---",
    "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip
_MARKDOWN_STYLES: dict[Style, str] = {
    "": "{}", "best": "**{}**", "second": "_{}_", "small": " {}", "below": " {}", "mark": "<sup>{}</sup>",
}  # fmt: skip
_LATEX_STYLES: dict[Style, str] = {
    "": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "small": r"{{\scriptsize {}}}",
    "below": r"{{\scriptsize {}}}", "mark": "$^{{{}}}$",
}  # fmt: skip


def render(name: str, **context: Any) -> str:
    """The template ``name``.html.j2 of this folder, rendered with ``context``."""
    return _TEMPLATES.get_template(f"{name}.html.j2").render(**context)


def data_url(content: bytes, kind: str) -> str:
    """The content of a file as a data URL; ``kind`` is its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image_url(image: ImageArray, longest: int = 512) -> str:
    """An image (H, W, 3) as a JPEG data URL, reduced to at most ``longest`` pixels on each side."""
    small = Image.fromarray(image)
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=92)
    return data_url(buffer.getvalue(), "image/jpeg")


def with_hole(image: ImageArray, mask: MaskArray) -> ImageArray:
    """The image (H, W, 3) with its hole in pink."""
    return np.where(mask[..., None], PINK, image)


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
    return "".join(_LATEX.get(character, character) for character in text)

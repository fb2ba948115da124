"""The look of a figure in print: its size in inches, small labels, colours and marks that survive a grey copy."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from lama.files import atomic_write, check_writable

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it reports every table of a font that it embeds
SUFFIXES = (".pdf", ".svg", ".png")
# Okabe and Ito, colour-blind safe
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = "os^Dv<>"
STYLE: dict[Any, Any] = {  # of matplotlib
    "font.family": "sans-serif", "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.linewidth": 0.6, "lines.linewidth": 1.2, "lines.markersize": 3.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e5e5e5",
    "grid.linewidth": 0.5, "axes.axisbelow": True, "legend.frameon": False,
    "pdf.fonttype": 42, "svg.fonttype": "none",  # text stays text
}  # fmt: skip


def check(out: str | Path, width: float) -> Path:
    """The file of a figure.

    Raises ValueError for another suffix than .pdf, .svg or .png, and for an odd width; PermissionError.
    """
    path = Path(out).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"out={out}: expected a file with the suffix {', '.join(SUFFIXES)}")
    if not 1 <= width <= 40:
        raise ValueError(f"width={width}: expected 1 to 40 inches, such as 3.3 for a column or 6.9 for a page")
    check_writable(path.parent, "out", path)
    return path


def save(figure: Any, out: Path) -> None:
    """Write a figure atomically, at 300 dots per inch where it has pixels, and close it."""
    with atomic_write(out) as partial:
        figure.savefig(partial, format=out.suffix.lower()[1:], dpi=300)
    plt.close(figure)


def plots(titles: Sequence[str], draw: Callable[[Any, int], None], width: float, out: Path) -> None:
    """A figure of one plot for each title, at most three in a row, with one legend below all of them."""
    across = min(3, len(titles)) if width > 4 else 1
    down = -(-len(titles) // across)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            down,
            across,
            figsize=(width, 0.72 * down * width / across + 0.35),
            squeeze=False,
            layout="constrained",
        )
        for index, axis in enumerate(axes.flat):
            if index < len(titles):
                draw(axis, index)
                axis.set_ylabel(titles[index])
            else:
                axis.axis("off")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
        save(figure, out)

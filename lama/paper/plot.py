"""Our numbers in the paper's tables as a plot: one dot for each training."""

from collections.abc import Sequence
from typing import Any

from lama.evaluation.plots import ACCENT, INK, panels
from lama.paper.cells import FilledTable
from lama.paper.formats import heading


def dots(tables: Sequence[FilledTable]) -> bytes | None:
    """A PNG with one plot for each column that has at least two of our numbers, and one line for each row.

    A bar is the mean. Dots are the seeds of a run; the line of a single evaluation is its 95 % interval over images.
    Returns None if no column has two numbers.
    """
    drawn = []
    for table in tables:
        where = "" if table.layout.number is None else f"Table {table.layout.number}, "
        for i, (column, metric) in enumerate(table.fields):
            cells = [(row.run, row.cells[i].ours) for row in (*table.rows, *table.others)]
            measured = {run: ours for run, ours in cells if ours is not None and ours.mean is not None}
            if len(measured) > 1:
                title = f"{where}{column.set_name(table.size)}: {heading(metric)}"
                drawn.append((title, measured))

    def draw(axis: Any, index: int) -> str:
        title, measured = drawn[index]
        for y, ours in enumerate(measured.values()):
            axis.plot(ours.mean, y, "|", color=INK, markersize=14)
            axis.plot(ours.seeds, [y] * len(ours.seeds), "o", color=ACCENT, markersize=4, alpha=0.8)
            if ours.ci95:
                axis.plot(ours.ci95, [y, y], "-", color=INK, linewidth=1)
        axis.locator_params(axis="x", nbins=3)  # more labels would overlap where the numbers are long
        axis.set_yticks(range(len(measured)), measured, fontsize=7)
        axis.set_ylim(len(measured) - 0.5, -0.5)  # the first row on top, as in the table
        return title

    return panels(len(drawn), draw)

"""Tables from evaluations: tables 1 to 4 of the paper with our numbers, and tables of the user."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lama.evaluation.metrics import metric_names
from lama.files import atomic_write, check_writable, write_text
from lama.paper.cells import FilledTable
from lama.paper.filling import fill
from lama.paper.formats import OWN_LEGEND, PAPER_LEGEND, Document, as_csv, as_data, html, latex, markdown, shared_notes
from lama.paper.own import fill_own
from lama.paper.plot import dots
from lama.paper.published import read_paper
from lama.paper.rows import methods, read_rows
from lama.paper.runs import Evaluation, read_runs


class NothingFitsError(ValueError):
    """No evaluation belongs to a cell of the paper's tables."""


def make_tables(
    runs: str | Path, out: str | Path, metrics: Sequence[str] | None = None, size: int | None = None
) -> tuple[list[FilledTable], list[str]]:
    """Write tables.md, .tex, .html, .json and .csv into ``out``; returns the tables and evaluations that fit no cell.

    Also writes tables.png if two rows of one column have a number. ``metrics`` replace FID and LPIPS; ``size`` (pixels)
    replaces the size of the paper's evaluation sets. Raises FileNotFoundError or ValueError for a folder without
    evaluations, a malformed metrics.json, two evaluations of one cell, an unknown metric, and if no cell is filled.
    """
    check_writable(Path(out), "out")
    paper = read_paper()
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError(f"size={size}: expected a number of pixels, such as 256")
    evaluations, strays = read_runs(runs)
    names = _checked(metrics, evaluations) or list(paper.metrics)
    tables, lost = fill(paper, evaluations, names, size)
    if len(lost) == len(evaluations):
        sets = ", ".join(sorted({evaluation.set_name for evaluation in evaluations}))
        raise NothingFitsError(
            f"runs={runs}: none of {len(evaluations)} evaluations fits a cell; their sets are {sets}, the tables "
            f"need sets of {f'{size} pixels' if size else '512 pixels (CelebA-HQ: 256)'}; pass size=256 for 256, or "
            "layout=own for a table of your own rows and sets"
        )
    unplaced = [f"{evaluation.relative}: tables 1 to 4 have no cell for this run and set" for evaluation in lost]
    unplaced += [f"{file.relative_to(Path(runs).expanduser())}: not at RUN/SET or RUN/seedN/SET" for file in strays]
    remarks = ("Evaluations that fit no cell", unplaced)
    heading = "The paper's tables and our numbers"
    write(Document(heading, PAPER_LEGEND, tables, str(runs), remarks, paper.reference), Path(out))
    return tables, unplaced


def summary(tables: Sequence[FilledTable], unplaced: Sequence[str]) -> str:
    """A line for each table with the number of our numbers in it, and one for each evaluation that fits no cell."""
    lines = []
    for table in tables:
        cells = [cell for row in (*table.rows, *table.others) for cell in row.cells if cell.ours is not None]
        measured = sum(cell.ours.mean is not None for cell in cells if cell.ours)
        lines.append(f"table {table.layout.number}: {measured} numbers of ours, {len(cells) - measured} n/a")
    return "\n".join([*lines, *(f"fits no cell: {name}" for name in unplaced)])


def make_own_table(
    out: str | Path,
    rows: Sequence[str] | Mapping[str, Any] | None,  # as ``read_rows``
    runs: str | Path | None = None,
    sets: Sequence[str] | None = None,  # None: every set of a row
    metrics: Sequence[str] | None = None,  # None: every metric with a number
    baseline: str | None = None,  # a row
    title: str = "Results",
    names: Sequence[str] | None = None,  # of the rows; None: of their folders
) -> tuple[FilledTable, list[str]]:
    """Write one table of ``rows`` as the files of ``make_tables``; returns it and its warnings.

    A warning names a condition, such as the protocol, that should be equal in all rows and is not. Raises
    FileNotFoundError or ValueError for a row without evaluations, an unknown set, metric or baseline.
    """
    check_writable(Path(out), "out")
    if isinstance(sets, str) or (sets is not None and not sets):
        raise ValueError(f"sets={sets}: expected a list of evaluation sets, such as [random_thick_256]")
    found = read_rows(rows, runs, names)
    columns = _checked(metrics, [evaluation for row in found for each in row.sets.values() for evaluation in each])
    table, warnings = fill_own(found, sets, columns, baseline, title)
    legend = [text.format(baseline=baseline) for text in OWN_LEGEND if baseline or "{baseline}" not in text]
    legend += [f"Methods: {methods(found)}."]
    legend += [f"All numbers: {note}." for note in shared_notes(table)]
    source = ", ".join(row.name for row in found) if runs is None else str(runs)
    write(Document(title, legend, [table], source, ("Warnings", warnings)), Path(out))
    return table, warnings


def _checked(metrics: Sequence[str] | None, evaluations: Sequence[Evaluation]) -> list[str] | None:
    if isinstance(metrics, str) or (metrics is not None and not metrics):
        raise ValueError(f"metrics={metrics}: expected a list of names, such as [psnr_hole,lpips_squeeze]")
    return None if metrics is None else metric_names(metrics, [one.about for one in evaluations])


def write(document: Document, out: Path) -> None:
    """Write tables.json, .csv, .tex, .html and .md, and tables.png if two rows of one column have a number."""
    image = dots(document.tables)
    for name, text in (
        ("tables.json", json.dumps(as_data(document), indent=2, ensure_ascii=False) + "\n"),
        ("tables.csv", as_csv(document)),
        ("tables.tex", latex(document)),
        ("tables.html", html(document, image)),
        ("tables.md", markdown(document)),
    ):
        write_text(out / name, text)
    if image is None:
        (out / "tables.png").unlink(missing_ok=True)  # may exist from earlier tables
    else:
        with atomic_write(out / "tables.png") as partial:
            partial.write_bytes(image)

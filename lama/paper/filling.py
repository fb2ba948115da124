"""The paper's tables with our evaluations in their cells."""

import itertools
from collections.abc import Sequence

from lama.evaluation.metrics import METRICS, higher_is_better
from lama.evaluation.tables import compared_with
from lama.paper.cells import Cell, Fields, FilledRow, FilledTable, Ours, change, measured, set_ranks
from lama.paper.layout import Published
from lama.paper.published import Paper, PaperColumn, PaperTable
from lama.paper.runs import Evaluation

Claims = dict[tuple[str, str], list[Evaluation]]  # by (run without the suffix of its data set, column)


def fill(
    paper: Paper, evaluations: Sequence[Evaluation], metrics: Sequence[str], size: int | None
) -> tuple[list[FilledTable], list[Evaluation]]:
    """The tables, and evaluations that fit no cell. Raises ValueError where two evaluations claim the same cell."""
    claims: Claims = {}
    lost = []
    columns = {column.key: column for table in paper.tables for column in table.columns}
    suffixes = {column.run_suffix for column in columns.values()} - {""}
    for evaluation in evaluations:
        suffix = next((s for s in suffixes if evaluation.run.endswith(s)), "")
        run = evaluation.run.removesuffix(suffix)
        mine = [c for c in columns.values() if (c.run_suffix, c.set_name(size)) == (suffix, evaluation.set_name)]
        rows = [row.run for table in paper.tables if set(table.columns) & set(mine) for row in table.rows]
        if not mine or (run in paper.runs and run not in rows):
            lost.append(evaluation)
        for column in mine:
            claims.setdefault((run, column.key), []).append(evaluation)
    for first, second in (pair for claimants in claims.values() for pair in itertools.combinations(claimants, 2)):
        if first.seed is None or second.seed is None or first.seed == second.seed:
            expected = "expected RUN/SET, or RUN/seed0/SET for several seeds; remove one"
            raise ValueError(f"{first.file} and {second.file} claim the same cell: {expected}")
    return [_fill_table(paper, table, claims, metrics, size) for table in paper.tables], lost


def _fill_table(
    paper: Paper, table: PaperTable, claims: Claims, metrics: Sequence[str], size: int | None
) -> FilledTable:
    fields = [(column, metric) for column in table.columns for metric in metrics]

    def row_of(run: str, about: tuple[str, ...], published: dict[tuple[str, str], Published]) -> FilledRow:
        cells = []
        for column, metric in fields:
            found = claims.get((run, column.key))
            ours = _beside_published(found, column, metric, paper.protocol) if found else None
            cells.append(Cell(ours, published.get((column.key, metric)), metric in paper.metrics))
        return FilledRow(about, run, tuple(cells))

    keys = {column.key for column in table.columns}
    strangers = sorted({run for run, column in claims if column in keys and run not in paper.runs})
    blanks = ("",) * (len(table.headings) - 1)
    rows = [row_of(row.run, row.about, row.cells) for row in table.rows]
    others = [row_of(run, (run, *blanks), {}) for run in strangers]
    _set_changes(table, fields, rows, others)
    for i, (_, metric) in enumerate(fields):
        set_ranks([row.cells[i] for row in (*rows, *others)], higher_is_better(metric))
    return FilledTable(table, fields, size, tuple(rows), tuple(others))


def _beside_published(evaluations: Sequence[Evaluation], column: PaperColumn, metric: str, protocol: str) -> Ours:
    """Our number, with a note for each difference from the published one."""
    ours = measured(evaluations, metric)
    if ours.mean is None:
        return ours
    first = next(e for e in evaluations if e.conditions(metric) == ours.conditions)
    if first.protocol["name"] != protocol:
        ours.notes.append(f"protocol {first.protocol['name']} (published: {protocol})")
    if first.about.get("truth"):
        ours.notes.append(f"compared with {compared_with(first.about)} (published: with the images)")
    if first.sizes != ((column.size, column.size),):
        ours.notes.append(f"images of {_sizes(first.sizes)} (published: {column.size} pixels)")
    if set(METRICS[metric].weight_files) & set(first.unpublished):
        ours.notes.append(f"weights of {metric} are not the published file")
    if ours.n != column.images:
        published = "number not given" if column.images is None else _thousands(column.images)
        ours.notes.append(f"{_thousands(ours.n)} images (published: {published})")
    ours.notes += [column.note] if column.note else []
    return ours


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    """``256 pixels``, ``200 x 300 pixels`` (width first), or ``several sizes``."""
    if len(sizes) != 1:
        return "several sizes"
    height, width = sizes[0]
    return f"{height} pixels" if height == width else f"{width} x {height} pixels"


def _thousands(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def _set_changes(table: PaperTable, fields: Fields, rows: Sequence[FilledRow], others: Sequence[FilledRow]) -> None:
    """Set the changes of each row to its baseline; ours only where both numbers have equal conditions."""
    baselines = [table.baseline_of(row.about) for row in rows]
    baselines += [0 if table.baseline_same is None else None for _ in others]
    for index, (row, base) in enumerate(zip((*rows, *others), baselines, strict=True)):
        if base is None or base == index:
            continue
        for cell, baseline, (_, metric) in zip(row.cells, rows[base].cells, fields, strict=True):
            if cell.ours and baseline.ours and cell.ours.conditions == baseline.ours.conditions:
                cell.ours_change = change(metric, cell.ours.mean, baseline.ours.mean)
            if cell.paper and baseline.paper:
                cell.paper_change = change(metric, cell.paper.value, baseline.paper.value)

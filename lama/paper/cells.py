"""The cells of the paper's tables: our evaluation of each, its notes, its change to the baseline, and its rank."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lama.evaluation.metrics import METRICS, higher_is_better
from lama.paper.published import Column, Paper, PaperTable, Published
from lama.paper.runs import Evaluation

Claims = dict[tuple[str, str], list[Evaluation]]  # by (run without the suffix of its data set, column)
Fields = Sequence[tuple[Column, str]]  # (column, metric) of each cell of a row


@dataclass
class Ours:
    """Our number for one cell: from one evaluation, or over the seeds of a run."""

    mean: float | None  # None = evaluated, but without a number; a note holds the reason
    std: float | None = None  # standard deviation (n - 1) of the means of several seeds
    seeds: tuple[float, ...] = ()  # the means of several seeds
    ci95: tuple[float, float] | None = None  # interval of a single evaluation
    n: int = 0
    files: tuple[str, ...] = ()
    protocol: dict[str, Any] = field(default_factory=dict)
    evaluation_set: str = ""
    notes: list[str] = field(default_factory=list)  # differences from the published number
    conditions: tuple[str, str, int] | None = None  # as ``Evaluation.conditions``


@dataclass
class Cell:
    """Our number and the paper's, each with its change to the baseline and its rank in the column."""

    ours: Ours | None  # None = no such evaluation
    paper: Published | None
    reported: bool = True  # False: the paper does not report this metric
    ours_change: float | None = None  # in per cent of the baseline, or in the unit of the metric
    paper_change: float | None = None
    ours_rank: int | None = None  # 1 = best of its column, 2 = second
    paper_rank: int | None = None


@dataclass(frozen=True)
class FilledRow:
    """One method: its entries in the text columns, its run, and its cells."""

    about: tuple[str, ...]
    run: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class FilledTable:
    """A table of the paper with our numbers; ``others`` are runs that have no row in the paper."""

    paper: PaperTable
    fields: Fields
    size: int | None  # pixels, of the images; None = the paper's
    rows: tuple[FilledRow, ...]
    others: tuple[FilledRow, ...]


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
            ours = _measured(found, column, metric, paper.protocol) if found else None
            cells.append(Cell(ours, published.get((column.key, metric)), metric in paper.metrics))
        return FilledRow(about, run, tuple(cells))

    keys = {column.key for column in table.columns}
    strangers = sorted({run for run, column in claims if column in keys and run not in paper.runs})
    blanks = ("",) * (len(table.headings) - 1)
    rows = [row_of(row.run, row.about, row.cells) for row in table.rows]
    others = [row_of(run, (run, *blanks), {}) for run in strangers]
    _set_changes(table, fields, rows, others)
    for i, (_, metric) in enumerate(fields):
        _set_ranks([row.cells[i] for row in (*rows, *others)], higher_is_better(metric))
    return FilledTable(table, fields, size, tuple(rows), tuple(others))


def _measured(evaluations: list[Evaluation], column: Column, metric: str, protocol: str) -> Ours:
    """One number from one evaluation, or from one evaluation per seed."""
    files = tuple(evaluation.relative for evaluation in evaluations)
    have = [e for e in evaluations if e.overall.get(metric, {"mean": None})["mean"] is not None]
    if not have:
        has = evaluations[0].overall
        note = has[metric].get("note", "not available") if metric in has else f"not measured; was: {', '.join(has)}"
        return Ours(None, files=files, notes=[f"{metric}: {note}"])
    if len({e.conditions(metric) for e in have}) > 1:
        return Ours(None, files=files, notes=["the seeds differ in evaluation set, protocol or number of images"])
    first = have[0]
    means = [e.overall[metric]["mean"] for e in have]
    n = first.overall[metric]["n"]
    notes = []
    if len(evaluations) > 1:
        of = "" if len(have) == len(evaluations) else f" (of {len(evaluations)} evaluated)"
        notes.append(f"mean ± standard deviation of {len(have)} seeds{of}")
    if first.protocol["name"] != protocol:
        notes.append(f"protocol {first.protocol['name']} (published: {protocol})")
    if first.sizes != ((column.size, column.size),):
        notes.append(f"images of {_sizes(first.sizes)} (published: {column.size} pixels)")
    if set(METRICS[metric].weight_files) & set(first.unpublished):
        notes.append(f"weights of {metric} are not the published file")
    if n != column.images:
        published = "number not given" if column.images is None else _thousands(column.images)
        notes.append(f"{_thousands(n)} images (published: {published})")
    ends = first.overall[metric].get("ci95") if len(evaluations) == 1 else None
    return Ours(
        mean=statistics.fmean(means),
        std=statistics.stdev(means) if len(means) > 1 else None,
        seeds=tuple(means) if len(means) > 1 else (),
        ci95=(ends[0], ends[1]) if ends else None,
        n=n,
        files=files,
        protocol=first.protocol,
        evaluation_set=first.evaluation_set,
        notes=notes + ([column.note] if column.note else []),
        conditions=first.conditions(metric),
    )


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
                cell.ours_change = _change(metric, cell.ours.mean, baseline.ours.mean)
            if cell.paper and baseline.paper:
                cell.paper_change = _change(metric, cell.paper.value, baseline.paper.value)


def _change(metric: str, value: float | None, base: float | None) -> float | None:
    """The change in per cent of the baseline, or the difference for a metric with a unit, such as dB."""
    if value is None or base is None:
        return None
    if METRICS[metric].unit:
        return value - base
    return 100 * (value - base) / base if base > 0 else None


def _set_ranks(column: Sequence[Cell], higher: bool) -> None:
    """Set the ranks of the paper's numbers, and of ours where all have equal conditions; add a note elsewhere."""
    paper_ranks = _ranks([cell.paper.value if cell.paper else None for cell in column], higher)
    measured = [cell.ours for cell in column if cell.ours and cell.ours.mean is not None]
    conditions = [ours.conditions for ours in measured if ours.conditions]
    names = ("protocol", "evaluation set", "number of images")
    differing = ", ".join(name for i, name in enumerate(names) if len({each[i] for each in conditions}) > 1)
    our_ranks = _ranks([None if differing or not cell.ours else cell.ours.mean for cell in column], higher)
    for cell, ours_rank, paper_rank in zip(column, our_ranks, paper_ranks, strict=True):
        cell.ours_rank, cell.paper_rank = ours_rank, paper_rank
    if differing:
        for ours in measured:
            ours.notes.append(f"not ranked: our numbers of this column differ in {differing}")


def _ranks(values: Sequence[float | None], higher: bool) -> list[int | None]:
    """1 for the best, 2 for the second of three or more values; equal values share a rank."""
    known = [value for value in values if value is not None]
    ranked = min(len(known) - 1, 2)
    best = sorted(set(known), reverse=higher)[: max(ranked, 0)]
    return [best.index(value) + 1 if value in best else None for value in values]

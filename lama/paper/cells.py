"""Our evaluations in the cells of the paper's tables: which cell is whose, what differs, what is best."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lama.evaluation.evaluator import OF_SETS, higher_is_better
from lama.paper.published import Column, Paper, PaperTable, Published
from lama.paper.runs import Evaluation

Claims = dict[tuple[str, str], list[Evaluation]]  # by (run without the suffix of its data set, column)


@dataclass(frozen=True)
class Ours:
    """What was measured for one cell: of one evaluation, or over the seeds of a run."""

    mean: float | None  # None = evaluated, but no number; a note says why
    std: float | None = None  # of the means of several seeds, n - 1
    seeds: tuple[float, ...] = ()  # the means, where there are several
    ci95: tuple[float, float] | None = None  # of a single evaluation
    n: int = 0
    files: tuple[str, ...] = ()
    protocol: dict[str, Any] = field(default_factory=dict)
    evaluation_set: str = ""
    notes: tuple[str, ...] = ()  # how it differs from what was published
    under: tuple[str, str, int] | None = None  # as ``Evaluation.stands_under``


@dataclass(frozen=True)
class Cell:
    """One number of ours and one of the paper, each with its difference to the baseline and its rank."""

    ours: Ours | None  # None = no such evaluation
    paper: Published | None
    reported: bool = True  # whether the paper reports this metric at all
    ours_change: float | None = None  # per cent of the baseline; for PSNR, decibels
    paper_change: float | None = None
    ours_rank: int | None = None  # 1 = best of its column, 2 = second
    paper_rank: int | None = None


@dataclass(frozen=True)
class FilledRow:
    about: tuple[str, ...]
    run: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class FilledTable:
    """A table of the paper with our numbers; ``others`` are runs that the paper has no row for."""

    paper: PaperTable
    fields: tuple[tuple[Column, str], ...]  # (column, metric) of each cell of a row
    size: int | None  # of the images, where it is not the paper's
    rows: tuple[FilledRow, ...]
    others: tuple[FilledRow, ...]


def fill(
    paper: Paper, evaluations: Sequence[Evaluation], metrics: Sequence[str], size: int | None
) -> tuple[list[FilledTable], list[Evaluation]]:
    """The tables, and the evaluations that belong to none of their cells.

    Raises ValueError where two evaluations claim the same cell.
    """
    claims: Claims = {}
    lost = []
    columns = {column.key: column for table in paper.tables for column in table.columns}
    suffixes = {column.run_suffix for column in columns.values()} - {""}
    known = {row.run for table in paper.tables for row in table.rows}
    for evaluation in evaluations:
        suffix = next((s for s in suffixes if evaluation.run.endswith(s)), "")
        run = evaluation.run.removesuffix(suffix)
        mine = [c for c in columns.values() if (c.run_suffix, c.set_name(size)) == (suffix, evaluation.set_name)]
        rows = [row.run for table in paper.tables if set(table.columns) & set(mine) for row in table.rows]
        if not mine or (run in known and run not in rows):
            lost.append(evaluation)
        for column in mine:
            claims.setdefault((run, column.key), []).append(evaluation)
    for claimants in claims.values():
        _check_claims(claimants)
    return [_fill_table(paper, table, claims, metrics, size) for table in paper.tables], lost


def _check_claims(claimants: list[Evaluation]) -> None:
    for i, first in enumerate(claimants):
        for second in claimants[i + 1 :]:
            if first.seed is None or second.seed is None or first.seed == second.seed:
                raise ValueError(
                    f"{first.file} and {second.file} claim the same cell: expected RUN/SET, or one folder per seed, "
                    "RUN/seed0/SET; remove one"
                )


def _fill_table(
    paper: Paper, table: PaperTable, claims: Claims, metrics: Sequence[str], size: int | None
) -> FilledTable:
    fields = tuple((column, metric) for column in table.columns for metric in metrics)

    def ours(run: str) -> list[Ours | None]:
        found = [(column, metric, claims.get((run, column.key))) for column, metric in fields]
        return [_measured(e, column, metric, paper.protocol) if e else None for column, metric, e in found]

    rows = [
        FilledRow(row.about, row.run, tuple(
            Cell(cell, row.cells.get((column.key, metric)), metric in paper.metrics)
            for cell, (column, metric) in zip(ours(row.run), fields, strict=True)
        ))
        for row in table.rows
    ]  # fmt: skip
    known = {row.run for table in paper.tables for row in table.rows}
    wanted = {column.key for column in table.columns}
    strangers = sorted({run for run, column in claims if column in wanted and run not in known})
    dashes = ("",) * (len(table.headings) - 1)
    others = [
        FilledRow(
            (run, *dashes),
            run,
            tuple(
                Cell(cell, None, metric in paper.metrics) for cell, (_, metric) in zip(ours(run), fields, strict=True)
            ),
        )
        for run in strangers
    ]
    everything = _with_changes(table, fields, [*rows, *others])
    for i, (_, metric) in enumerate(fields):
        everything = _with_ranks(everything, i, higher_is_better(metric))
    return FilledTable(table, fields, size, tuple(everything[: len(rows)]), tuple(everything[len(rows) :]))


def _measured(evaluations: list[Evaluation], column: Column, metric: str, protocol: str) -> Ours:
    """One number out of one evaluation, or out of one for each seed."""
    files = tuple(evaluation.relative for evaluation in evaluations)
    have = [e for e in evaluations if e.overall.get(metric, {"mean": None})["mean"] is not None]
    if not have:
        has = evaluations[0].overall
        note = has[metric].get("note", "not available") if metric in has else f"not measured; was: {', '.join(has)}"
        return Ours(None, files=files, notes=(f"{metric}: {note}",))
    if len({e.stands_under(metric) for e in have}) > 1:
        return Ours(None, files=files, notes=("the seeds differ in evaluation set, protocol or number of images",))
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
    if ("fid_inception" if metric in OF_SETS else metric) in first.unpublished:
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
        notes=(*notes, *([column.note] if column.note else [])),
        under=first.stands_under(metric),
    )


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    """``256 pixels``, ``200 x 300 pixels`` (width first), or ``several sizes``."""
    if len(sizes) != 1:
        return "several sizes"
    height, width = sizes[0]
    return f"{height} pixels" if height == width else f"{width} x {height} pixels"


def _thousands(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def _with_changes(
    table: PaperTable, fields: Sequence[tuple[Column, str]], rows: Sequence[FilledRow]
) -> list[FilledRow]:
    changed = []
    for index, row in enumerate(rows):
        base = table.baseline_of(row.about) if index < len(table.rows) or table.baseline_same is None else None
        if base is None or base == index:
            changed.append(row)
            continue
        cells = []
        for cell, reference, (_, metric) in zip(row.cells, rows[base].cells, fields, strict=True):
            ours = paper = None
            if cell.ours and reference.ours and cell.ours.under == reference.ours.under:
                ours = _change(metric, cell.ours.mean, reference.ours.mean)
            if cell.paper and reference.paper:
                paper = _change(metric, cell.paper.value, reference.paper.value)
            cells.append(replace(cell, ours_change=ours, paper_change=paper))
        changed.append(replace(row, cells=tuple(cells)))
    return changed


def _change(metric: str, value: float | None, base: float | None) -> float | None:
    """Per cent of the baseline; PSNR is a logarithm already, so that its difference is meant."""
    if value is None or base is None:
        return None
    if metric.startswith("psnr"):
        return value - base
    return 100 * (value - base) / base if base > 0 else None


def _with_ranks(rows: Sequence[FilledRow], i: int, higher: bool) -> list[FilledRow]:
    """Mark best and second of column ``i``: of the paper, and of ours where all stand under the same conditions."""
    ours = {r: cell.ours for r, row in enumerate(rows) if (cell := row.cells[i]).ours and cell.ours.mean is not None}
    mixed = _what_differs([o for o in ours.values() if o is not None])
    our_ranks = _ranks({r: o.mean for r, o in ours.items() if o and o.mean is not None}, higher) if not mixed else {}
    paper = {r: cell.paper.value for r, row in enumerate(rows) if (cell := row.cells[i]).paper is not None}
    paper_ranks = _ranks(paper, higher)
    ranked = []
    for r, row in enumerate(rows):
        cell = replace(row.cells[i], ours_rank=our_ranks.get(r), paper_rank=paper_ranks.get(r))
        if mixed and cell.ours is not None and cell.ours.mean is not None:
            note = f"not ranked: our numbers of this column differ in {mixed}"
            cell = replace(cell, ours=replace(cell.ours, notes=(*cell.ours.notes, note)))
        ranked.append(replace(row, cells=(*row.cells[:i], cell, *row.cells[i + 1 :])))
    return ranked


def _what_differs(cells: Sequence[Ours]) -> str:
    """In words, what of protocol, evaluation set and number of images is not the same; empty where all is."""
    unders = [cell.under for cell in cells if cell.under is not None]
    names = ("protocol", "evaluation set", "number of images")
    return ", ".join(name for i, name in enumerate(names) if len({under[i] for under in unders}) > 1)


def _ranks(values: dict[int, float], higher: bool) -> dict[int, int]:
    """1 for the best, 2 for the second of three or more; equal numbers share a rank."""
    if len(values) < 2:
        return {}
    order = sorted(set(values.values()), reverse=higher)
    ranks = {value: rank for rank, value in enumerate(order[: 2 if len(values) > 2 else 1], start=1)}
    return {r: ranks[value] for r, value in values.items() if value in ranks}

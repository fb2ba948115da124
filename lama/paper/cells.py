"""The cells of a table: our evaluation of each, its notes, its change to the baseline, and its rank."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lama.evaluation.metrics import METRICS
from lama.paper.layout import Column, Layout, Published
from lama.paper.runs import Evaluation

Fields = Sequence[tuple[Column, str]]  # (column, metric) of each cell of a row
CONDITIONS = ("protocol", "evaluation set", "number of images", "weight files of the metric", "truth")


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
    conditions: tuple[Any, ...] | None = None  # as ``Evaluation.conditions``


@dataclass
class Difference:
    """Our number minus the baseline's, image by image."""

    mean: float
    ci95: tuple[float, float] | None  # over images
    p: float | None = None  # as ``compare`` computes it; None = a metric of whole sets, which has no pairs
    p_holm: float | None = None  # corrected for all rows of the column
    seeds_ci95: tuple[float, float] | None = None  # over trainings


@dataclass
class Cell:
    """Our number and the paper's, each with its change to the baseline and its rank in the column."""

    ours: Ours | None  # None = no such evaluation
    paper: Published | None = None
    reported: bool = True  # False: print one number, ours or else the published one
    ours_change: float | None = None  # in per cent of the baseline, or in the unit of the metric
    paper_change: float | None = None
    difference: Difference | None = None
    ours_rank: int | None = None  # 1 = best of its column, 2 = second
    paper_rank: int | None = None


@dataclass(frozen=True)
class FilledRow:
    """One method: its entries in the text columns, its run, its cells, and what its training cost."""

    about: tuple[str, ...]
    run: str
    cells: tuple[Cell, ...]
    cost: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FilledTable:
    """A table with our numbers; ``others`` are runs that have no row in its layout."""

    layout: Layout
    fields: Fields
    size: int | None  # pixels, of the images; None = the layout's
    rows: tuple[FilledRow, ...]
    others: tuple[FilledRow, ...] = ()


def measured(evaluations: Sequence[Evaluation], metric: str) -> Ours:
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
    notes = []
    if len(evaluations) > 1:
        of = "" if len(have) == len(evaluations) else f" (of {len(evaluations)} evaluated)"
        notes.append(f"mean ± standard deviation of {len(have)} seeds{of}")
    ends = first.overall[metric].get("ci95") if len(evaluations) == 1 else None
    return Ours(
        mean=statistics.fmean(means),
        std=statistics.stdev(means) if len(means) > 1 else None,
        seeds=tuple(means) if len(means) > 1 else (),
        ci95=(ends[0], ends[1]) if ends else None,
        n=first.overall[metric]["n"],
        files=files,
        protocol=first.protocol,
        evaluation_set=first.evaluation_set,
        notes=notes,
        conditions=first.conditions(metric),
    )


def change(metric: str, value: float | None, base: float | None) -> float | None:
    """The change in per cent of the baseline, or the difference for a metric with a unit, such as dB."""
    if value is None or base is None:
        return None
    if METRICS[metric].unit:
        return value - base
    return 100 * (value - base) / base if base > 0 else None


def set_ranks(column: Sequence[Cell], higher: bool) -> None:
    """Set the ranks of the paper's numbers, and of ours where all have equal conditions; add a note elsewhere."""
    paper_ranks = _ranks([cell.paper.value if cell.paper else None for cell in column], higher)
    numbers = [cell.ours for cell in column if cell.ours and cell.ours.mean is not None]
    conditions = [ours.conditions for ours in numbers if ours.conditions]
    differing = ", ".join(name for i, name in enumerate(CONDITIONS) if len({each[i] for each in conditions}) > 1)
    our_ranks = _ranks([None if differing or not cell.ours else cell.ours.mean for cell in column], higher)
    for cell, ours_rank, paper_rank in zip(column, our_ranks, paper_ranks, strict=True):
        cell.ours_rank, cell.paper_rank = ours_rank, paper_rank
    if differing:
        for ours in numbers:
            ours.notes.append(f"not ranked: our numbers of this column differ in {differing}")


def _ranks(values: Sequence[float | None], higher: bool) -> list[int | None]:
    """1 for the best, 2 for the second of three or more values; equal values share a rank."""
    known = [value for value in values if value is not None]
    ranked = min(len(known) - 1, 2)
    best = sorted(set(known), reverse=higher)[: max(ranked, 0)]
    return [best.index(value) + 1 if value in best else None for value in values]

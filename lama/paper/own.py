"""A user's table: rows and evaluation sets as the user names them, differences to a baseline, costs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lama.evaluation.compare import compare_seeds
from lama.evaluation.metrics import METRICS, higher_is_better, left_out
from lama.evaluation.statistics import holm
from lama.evaluation.tables import compared_with
from lama.pages.table import TIMES
from lama.paper.cells import Cell, Difference, FilledRow, FilledTable, measured, set_ranks
from lama.paper.layout import Column, Layout
from lama.paper.rows import Row

Compared = dict[str, Any] | None  # of ``compare_seeds``; None = no evaluation, or not comparable
EQUAL = {  # in all rows of a table: the words, and the key in metrics.json
    "protocol": "protocol", "truth": "truth", "evaluation set": "evaluation_set",
    "weight files of metrics": "weights_sha256", "reading of masks": "masks", "version of lama": "versions",
    "commit": "commit",
}  # fmt: skip


def fill_own(
    rows: Sequence[Row], sets: Sequence[str] | None, metrics: Sequence[str] | None, baseline: str | None, title: str
) -> tuple[FilledTable, list[str]]:
    """The table, and one line for each condition that differs between its rows and should be equal.

    ``sets`` and ``metrics`` are all that were evaluated if they are None. Raises ValueError for a baseline that is no
    row, for a set or a metric of no row and for rows without any number.
    """
    names = [row.name for row in rows]
    if baseline is not None and baseline not in names:
        baseline = Path(baseline).name  # the folder that its row has its name from
    if baseline is not None and baseline not in names:
        raise ValueError(f"baseline={baseline}: no such row; rows are {', '.join(names)}")
    found = list(dict.fromkeys(name for row in rows for name in row.sets))
    unknown = [name for name in sets or () if name not in found]
    if unknown:
        raise ValueError(f"sets: {unknown[0]!r} was not evaluated; evaluated are {', '.join(found)}")
    columns = [Column(name, _column_title(name, rows)) for name in sets or found]
    fields = [(column, metric) for column in columns for metric in metrics or _metrics(rows)]
    every = [evaluation.about for row in rows for evaluated in row.sets.values() for evaluation in evaluated]
    unknown = left_out(every) if metrics is None else []
    if not fields:
        raise ValueError("; ".join(["no metric with a number in any row", *unknown]))
    costs = [row.cost() for row in rows]
    headings = [heading for heading in ("Parameters", "Training") if any(_text(cost, heading) for cost in costs)]
    filled = []
    for row, cost in zip(rows, costs, strict=True):
        about = (row.name, *(_text(cost, heading) or "—" for heading in headings))
        filled.append(FilledRow(about, row.name, _cells(row, fields), cost))
    for i, (_, metric) in enumerate(fields):
        set_ranks([row.cells[i] for row in filled], higher_is_better(metric))
    problems = [] if baseline is None else _set_differences(rows, filled, fields, names.index(baseline))
    layout = Layout(None, title, ("", *headings), tuple(columns), baseline or "")
    return FilledTable(layout, fields, None, tuple(filled)), [
        *unknown,
        *problems,
        *_unequal(rows, costs, [c.key for c in columns]),
    ]


def _metrics(rows: Sequence[Row]) -> list[str]:
    """Every metric with a number, in the order of the registry."""
    results = [evaluation.overall for row in rows for found in row.sets.values() for evaluation in found]
    return [m for m in METRICS if any(overall.get(m, {}).get("mean") is not None for overall in results)]


def _column_title(name: str, rows: Sequence[Row]) -> str:
    """Name, size, number of images and clean plates of a set, such as ``faces (256 x 256, 200 images)``."""
    first = next(row.sets[name][0] for row in rows if name in row.sets)
    n = first.about.get("images") or max(result["n"] for result in first.overall.values())
    size = f"{first.sizes[0][1]} {TIMES} {first.sizes[0][0]}" if len(first.sizes) == 1 else "several sizes"
    every = [evaluation.about for row in rows for evaluation in row.sets.get(name, ())]
    with_plates = dict.fromkeys(compared_with(about) for about in every if about.get("truth"))
    some = "" if all(about.get("truth") for about in every) else "some rows: "
    plates = f", {some}{' or '.join(with_plates)}" if with_plates else ""
    return f"{name} ({size}, {n} image{'s' * (n != 1)}{plates})"


def _cells(row: Row, fields: Sequence[tuple[Column, str]]) -> tuple[Cell, ...]:
    found = [(row.sets.get(column.key), metric) for column, metric in fields]
    every = [measured(evaluations, metric) if evaluations else None for evaluations, metric in found]
    for ours, (evaluations, _) in zip(every, found, strict=True):
        if ours and ours.mean is not None and evaluations and evaluations[0].about.get("truth"):
            ours.notes.append(f"compared with {compared_with(evaluations[0].about)}")
    return tuple(Cell(ours, reported=False) for ours in every)


def _text(cost: Mapping[str, Any], heading: str) -> str:
    """A cost in print; empty if it is not known."""
    if heading == "Parameters":
        return f"{cost['parameters'] / 1e6:.3g} M" if "parameters" in cost else ""
    hours = cost.get("seconds", 0) / 3600
    return "" if "seconds" not in cost else f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _set_differences(
    rows: Sequence[Row], filled: Sequence[FilledRow], fields: Sequence[tuple[Column, str]], base: int
) -> list[str]:
    """Set the differences to the baseline, corrected over the rows of each column; returns why some have none."""
    compared: dict[tuple[str, str], Compared] = {}
    problems = []
    for row in rows:
        for name in dict.fromkeys(column.key for column, _ in fields):
            pair = (row.sets.get(name), rows[base].sets.get(name))
            if row is rows[base] or not all(pair):
                continue
            try:
                compared[row.name, name] = compare_seeds(*([e.file.parent for e in found or ()] for found in pair))
            except (ValueError, FileNotFoundError) as error:
                problems.append(f"no difference of {row.name} to the baseline on {name}: {error}")
    for i, (column, metric) in enumerate(fields):
        cells = [row.cells[i] for row in filled]
        results = [(compared.get((row.name, column.key)) or {}).get(metric) for row in rows]
        tested = [(cell, found) for cell, found in zip(cells, results, strict=True) if found and found["n"]]
        for (cell, one), p in zip(tested, holm([found["p"] for _, found in tested]), strict=True):
            cell.difference = Difference(one["difference"], one["ci95"], one["p"], p, one["seeds_ci95"])
        _set_whole(cells, cells[base])
    return problems


def _set_whole(cells: Sequence[Cell], base: Cell) -> None:
    """The difference of a metric of whole sets (FID, KID, ...), which has no pairs: without an interval."""
    for cell in cells:
        if cell is base or cell.difference or not (cell.ours and base.ours):
            continue
        if cell.ours.mean is not None and base.ours.mean is not None and cell.ours.conditions == base.ours.conditions:
            cell.difference = Difference(cell.ours.mean - base.ours.mean, None)


def _unequal(rows: Sequence[Row], costs: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> list[str]:
    """One line for each condition that should be equal in all rows and is not."""
    lines = []
    for name in sets:
        found = [(row.name, evaluation) for row in rows for evaluation in row.sets.get(name, ())]
        for condition, key in EQUAL.items():
            values: dict[str, list[str]] = {}
            for row, evaluation in found:
                value = evaluation.about.get(key)
                value = value.get("lama") if key == "versions" and isinstance(value, dict) else value
                values.setdefault(json.dumps(value, sort_keys=True), []).append(row)
            if len(values) > 1:
                groups = " and ".join(", ".join(dict.fromkeys(group)) for group in values.values())
                lines.append(f"{name}: the rows differ in {condition}: {groups}")
    devices = {cost["device"] for cost in costs if "device" in cost}
    return lines + ([f"times of training are of different machines: {', '.join(sorted(devices))}"] * (len(devices) > 1))

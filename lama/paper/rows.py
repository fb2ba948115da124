"""The rows of a user's table: where their evaluations are, and what their trainings cost."""

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lama.evaluation.tables import method
from lama.paper.runs import LAYOUT, Evaluation, read_evaluation, read_runs
from lama.verbs import typed


@dataclass(frozen=True)
class Row:
    """A model: for each evaluation set one evaluation, or one for every seed."""

    name: str
    sets: dict[str, list[Evaluation]]

    def cost(self) -> dict[str, Any]:
        """``parameters``, ``seconds`` of a training (the mean over seeds) and ``device``, as far as they are known."""
        evaluations = [evaluation for found in self.sets.values() for evaluation in found]
        runs = {_run_of(evaluation.about) for evaluation in evaluations} - {None}
        summaries = [
            json.loads((run / "summary.json").read_text(encoding="utf-8")) for run in sorted(filter(None, runs))
        ]
        if not summaries:
            sizes = {(evaluation.about.get("model") or {}).get("parameters") for evaluation in evaluations} - {None}
            return {"parameters": sizes.pop()} if len(sizes) == 1 else {}
        return {
            "parameters": int(str(summaries[0]["parameters"]).replace(",", "")),  # text with commas before 2026-12
            "seconds": statistics.fmean(summary["seconds"] for summary in summaries),
            "iterations": summaries[0]["iterations"],
            "device": summaries[0]["device"],
        }


def methods(rows: Sequence[Row]) -> str:
    """The method of each row, for a legend: ``A: baseline telea; B: model runs/demo``."""
    lines = []
    for row in rows:
        names = list(dict.fromkeys(method(one.about) for found in row.sets.values() for one in found))
        lines.append(f"{row.name}: {names[0]}" + f" (and {len(names) - 1} more)" * (len(names) > 1))
    return "; ".join(lines)


def read_rows(
    rows: Sequence[Any] | Mapping[str, Any] | None, runs: str | Path | None, names: Sequence[str] | None = None
) -> list[Row]:
    """The rows of a table, in their order.

    A row is a name in the folder ``runs`` (RUNS/NAME/SET, or RUNS/NAME/seed0/SET), or an evaluation, or a folder of
    evaluations, or a list of these. ``names``, or a mapping, gives rows names of their own. Without ``rows``, every
    name in ``runs``. Raises ValueError or FileNotFoundError for a row without an evaluation, for two rows with one
    name, and for another number of names than of rows.
    """
    if names is not None:
        rows = _named(rows, names)
    in_runs: dict[str, Row] = {}
    for evaluation in read_runs(runs)[0] if runs is not None else ():
        _add(in_runs.setdefault(evaluation.run, Row(evaluation.run, {})), evaluation)
    if rows is None and runs is None:
        raise ValueError("rows=null: expected names in runs=FOLDER, or evaluations, such as rows=[OUT_A,OUT_B]")
    if isinstance(rows, str) or (rows is not None and not rows):
        raise ValueError(f"rows={rows}: expected a list, such as [base,thin], or names, such as {{Base:OUT_A}}")
    if rows is None:
        return list(in_runs.values())
    if not isinstance(rows, Mapping) and any(isinstance(where, list | tuple) for where in rows):
        raise ValueError("rows: a row of several folders has no name; give one to every row: names=[A,B]")
    named = rows.items() if isinstance(rows, Mapping) else [(_folder(str(where)).name, where) for where in rows]
    made: dict[str, Row] = {}
    for name, where in named:
        if name in made:
            raise ValueError(f"rows: two are called {name}; give them names: names=[A,B]")
        row = made[name] = Row(str(name), {})
        for place in where if isinstance(where, list | tuple) else [where]:
            for evaluation in _evaluations(str(place), in_runs, runs):
                _add(row, evaluation)
    return list(made.values())


def _named(rows: Any, names: Sequence[str]) -> dict[str, Any]:
    if isinstance(rows, str | Mapping) or rows is None:
        raise ValueError(f"names={names}: expected a list of rows to name, such as rows=[OUT_A,OUT_B]")
    if isinstance(names, str) or len(names) != len(rows) or len(set(map(str, names))) < len(names):
        raise ValueError(f"names={names}: expected a list of {len(rows)} different names, one for each of rows=")
    return dict(zip(map(str, names), rows, strict=True))


def _add(row: Row, evaluation: Evaluation) -> None:
    others = row.sets.setdefault(evaluation.set_name, [])
    if any(one.seed == evaluation.seed for one in others):
        clash = f"{others[0].file} and {evaluation.file}"
        raise ValueError(f"row {row.name}: two evaluations on {evaluation.set_name}: {clash}; remove one")
    others.append(evaluation)


def _evaluations(place: str, in_runs: Mapping[str, Row], runs: str | Path | None) -> list[Evaluation]:
    """The evaluations of a name in the folder of runs, of an evaluation, or of a folder of evaluations."""
    if place in in_runs:
        return [evaluation for found in in_runs[place].sets.values() for evaluation in found]
    folder = _folder(place)
    if (folder / "metrics.json").is_file():
        return [_of_set(read_evaluation(folder / "metrics.json", folder.name, None, ""))]
    files = [*sorted(folder.glob("*/metrics.json")), *sorted(folder.glob("seed*/*/metrics.json"))]
    if not files:
        known = f"; {runs} holds {', '.join(in_runs)}" if in_runs else ""
        raise FileNotFoundError(f"rows: {place}: neither a run nor an outdir= of {typed('evaluate')}{known}; {LAYOUT}")
    found = []
    for file in files:
        seed = _seed(file.parent)  # FOLDER/seed0: one set, which its folder does not name
        inner = _seed(file.parents[1]) if seed is None else seed
        evaluation = read_evaluation(file, folder.name, inner, file.parent.name)
        found.append(evaluation if seed is None else _of_set(evaluation))
    return found


def _folder(place: str) -> Path:
    """A folder; a user may name its metrics.json."""
    path = Path(place).expanduser()
    return path.parent if path.name == "metrics.json" else path


def _of_set(evaluation: Evaluation) -> Evaluation:
    """The evaluation with the name of its set from the folder of the images."""
    return replace(evaluation, set_name=Path(str(evaluation.about.get("indir", evaluation.file.parent))).name)


def _seed(folder: Path) -> int | None:
    number = re.fullmatch(r"seed(\d+)", folder.name)
    return int(number[1]) if number else None


def _run_of(about: Mapping[str, Any]) -> Path | None:
    """The folder of the training that wrote the model of an evaluation; None where it is not on this machine."""
    path = Path((about.get("model") or {}).get("file") or about.get("predictions", ""))
    return next((folder for folder in (path, *path.parents[:2]) if (folder / "summary.json").is_file()), None)

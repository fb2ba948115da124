"""Curves of several trainings in one plot, with a band over the seeds of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lama.evaluation.metrics import METRICS, arrow, plugins_advice
from lama.figures.labels import labels_of
from lama.figures.style import COLOURS, MARKS, check, plots
from lama.runs.callbacks import read_metrics
from lama.runs.provenance import read_settings

Series = dict[str, tuple[list[int], list[float]]]  # as ``read_metrics`` gives it
VALIDATION = ("val_", "_total_mean")


def curves_figure(
    runs: Sequence[str],  # run folders, or folders with a run for every seed: seed0, seed1, ...
    out: str | Path,
    names: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,  # metrics of the validation, or columns of metrics.csv; None: all they share
    width: float = 6.9,  # inches
) -> None:
    """Write one plot for each metric: the value against the iteration, with mean and range over the seeds.

    Raises FileNotFoundError for a folder without metrics.csv, ValueError for a metric that a run lacks.
    """
    path = check(out, width)
    labels = labels_of(runs, names)
    every = [_seeds(Path(run).expanduser()) for run in runs]
    shared = set.intersection(*(set(series) for seeds in every for series in seeds))
    columns = _columns(metrics, shared, runs)

    def draw(axis: Any, index: int) -> None:
        for i, (label, seeds) in enumerate(zip(labels, every, strict=True)):
            at, values = _on_one_grid([seeds_series[columns[index]] for seeds_series in seeds])
            look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKS[i % len(MARKS)] if len(at) < 40 else None}
            name = label if len(seeds) == 1 else f"{label} ({len(seeds)} seeds)"
            axis.plot(at, values.mean(axis=0), label=name, **look)
            if len(seeds) > 1:
                axis.fill_between(
                    at, values.min(axis=0), values.max(axis=0), color=look["color"], alpha=0.2, linewidth=0
                )
        axis.set_xlabel("iteration")

    plots([_title(column) for column in columns], draw, width, path)


def _seeds(folder: Path) -> list[Series]:
    """The curves of a run, or of every seed of a run."""
    files = _files(folder)
    if not files:
        raise FileNotFoundError(
            f"{folder}: no metrics.csv in it, nor in seed0, seed1, ...; expected the folder of a run"
        )
    return [read_metrics(file) for file in files]


def _files(folder: Path) -> list[Path]:
    alone = folder / "metrics.csv"
    return [alone] if alone.is_file() else sorted(folder.glob("seed*/metrics.csv"))


def _columns(metrics: Sequence[str] | None, shared: set[str], runs: Sequence[str]) -> list[str]:
    """Columns of metrics.csv, in the order of the registry if none are named."""
    full = {name: name.join(VALIDATION) for name in METRICS}
    if metrics is None:
        found = [column for column in full.values() if column in shared]
        if not found:
            raise ValueError(
                f"no metric of a validation is in every run; metrics= takes {', '.join(sorted(shared)) or 'none'}"
            )
        return found
    columns = [
        name if name in shared else full.get(name, name)
        for name in ([metrics] if isinstance(metrics, str) else metrics)
    ]
    missing = [column for column in columns if column not in shared]
    if missing or not columns:
        own = ""
        if any(name.join(VALIDATION) in shared for name in missing):  # of a package that is not imported
            files = [file for run in runs for file in _files(Path(run).expanduser())]
            own = "; " + plugins_advice([{"configuration": read_settings(file.parent)} for file in files])
        raise ValueError(f"metrics={metrics}: not in every run; in all are {', '.join(sorted(shared))}{own}")
    return columns


def _title(column: str) -> str:
    name = column.removeprefix(VALIDATION[0]).removesuffix(VALIDATION[1])
    return f"{METRICS[name].label} {arrow(name)}" if name in METRICS else column


def _on_one_grid(curves: Sequence[tuple[list[int], list[float]]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Iterations that all seeds have reached, and the values (seeds, iterations), interpolated where one has none."""
    at = np.unique(np.concatenate([iterations for iterations, _ in curves]))
    last, first = min(max(i) for i, _ in curves), max(min(i) for i, _ in curves)
    at = at[(at >= first) & (at <= last)]
    return at, np.stack([np.interp(at, iterations, values) for iterations, values in curves])

"""The paper's tables as data, and our evaluations of the same cells.

``published.yaml`` has each cell with its value as printed and its source. A folder of runs has RUN/SET/metrics.json, or
RUN/seed0/SET/metrics.json for each of several seeds.
"""

import importlib.resources
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lama.verbs import typed

LAYOUT = (
    "expected RUN/SET/metrics.json or RUN/seed0/SET/metrics.json, such as lama-fourier/random_thick_512/metrics.json, "
    f"as {typed('evaluate')} outdir=RUNS/lama-fourier/random_thick_512 writes it"
)


@dataclass(frozen=True)
class Published:
    text: str  # as printed
    source: str

    @property
    def value(self) -> float:
        return float(self.text)


@dataclass(frozen=True)
class Column:
    """An evaluation set of the paper; each of its metrics is a column of numbers."""

    key: str
    dataset: str
    masks: str
    set: str  # set and size together name a configuration of configs/data_gen
    size: int
    images: int | None  # None = not given in the paper
    note: str | None = None  # an unavoidable difference between our set and the paper's
    run_suffix: str = ""  # suffix of the configurations that are trained on this data set

    def set_name(self, size: int | None) -> str:
        """The folder of its evaluations, at ``size`` pixels if given, else at the paper's size."""
        return f"{self.set}_{size or self.size}"


@dataclass(frozen=True)
class Row:
    """A method: its entries in the text columns, the name of our run of it, its numbers by (column, metric)."""

    about: tuple[str, ...]
    run: str
    cells: dict[tuple[str, str], Published]


@dataclass(frozen=True)
class PaperTable:
    number: int
    title: str
    headings: tuple[str, ...]  # the headings of ``Row.about``
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    baseline: str  # in words
    baseline_same: str | None  # a heading: the baseline is the first row with the same entry there; None = the first

    def baseline_of(self, about: tuple[str, ...]) -> int | None:
        """The index of the baseline of a row with these entries; None if it has none."""
        if self.baseline_same is None:
            return 0
        where = self.headings.index(self.baseline_same)
        return next((i for i, row in enumerate(self.rows) if row.about[where] == about[where]), None)


@dataclass(frozen=True)
class Paper:
    reference: str
    metrics: tuple[str, ...]
    protocol: str
    tables: tuple[PaperTable, ...]

    @property
    def runs(self) -> set[str]:
        return {row.run for table in self.tables for row in table.rows}


def read_paper() -> Paper:
    file = importlib.resources.files("lama.paper").joinpath("published.yaml")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    columns = {key: Column(key, **settings) for key, settings in content["columns"].items()}
    tables = tuple(_table(entry, columns, content) for entry in content["tables"])
    return Paper(content["paper"], tuple(content["metrics"]), content["protocol"], tables)


def _table(entry: dict[str, Any], columns: dict[str, Column], content: dict[str, Any]) -> PaperTable:
    rows = []
    for row in entry["rows"]:
        cells = {}
        for column, numbers in zip(entry["columns"], row["cells"], strict=True):
            texts = zip(content["metrics"], numbers.split(" / "), strict=True) if numbers else ()
            for metric, text in texts:
                other = row.get("sources", {}).get(column, {}).get(metric)
                source = content["sources"][other] if other else f"{content['paper']}, Table {entry['number']}"
                cells[column, metric] = Published(text, source)
        rows.append(Row(tuple(str(value) for value in row["about"]), row["run"], cells))
    return PaperTable(
        number=entry["number"],
        title=entry["title"],
        headings=tuple(entry["about"]),
        columns=tuple(columns[key] for key in entry["columns"]),
        rows=tuple(rows),
        baseline=entry["baseline"],
        baseline_same=entry.get("baseline_same"),
    )


@dataclass(frozen=True)
class Evaluation:
    file: Path
    run: str
    seed: int | None  # None = the run has no folders of seeds
    set_name: str
    protocol: dict[str, Any]
    evaluation_set: str  # hashes of the set
    sizes: tuple[tuple[int, int], ...]  # (H, W) of its images
    unpublished: tuple[str, ...]  # weight files that are not the published ones
    overall: dict[str, dict[str, Any]]  # {metric: {"mean", "ci95"?, "n", "note"?}}

    @property
    def relative(self) -> str:
        return "/".join(self.file.parts[-3 if self.seed is None else -4 :])

    def conditions(self, metric: str) -> tuple[str, str, int]:
        """Protocol, evaluation set and number of images, which must be equal for numbers to be comparable."""
        protocol = json.dumps(self.protocol, sort_keys=True)
        return protocol, self.evaluation_set, self.overall[metric]["n"]


def read_runs(folder: str | Path) -> tuple[list[Evaluation], list[Path]]:
    """Every evaluation below ``folder``, and the other files with the name metrics.json, which are not read.

    Raises FileNotFoundError for a missing folder, ValueError where it holds no evaluation or a file is malformed.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"runs={folder}: no such folder; {LAYOUT}")
    found: dict[Path, tuple[str, int | None, str]] = {}
    for file in sorted((*folder.glob("*/*/metrics.json"), *folder.glob("*/*/*/metrics.json"))):
        run, *seed, set_name = file.relative_to(folder).parts[:-1]
        if not seed:
            found[file] = (run, None, set_name)
        elif number := re.fullmatch(r"seed(\d+)", seed[0]):
            found[file] = (run, int(number[1]), set_name)
    strays = sorted(set(folder.rglob("metrics.json")) - found.keys())
    if not found:
        found_only = f", only {strays[0].relative_to(folder)}" if strays else ""
        raise ValueError(f"runs={folder}: no evaluation in it{found_only}; {LAYOUT}")
    return [_read(file, *where) for file, where in found.items()], strays


def _read(file: Path, run: str, seed: int | None, set_name: str) -> Evaluation:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        protocol, overall = dict(content["protocol"]), dict(content["overall"])
        which = " ".join(content["evaluation_set"])
        sizes = tuple((int(h), int(w)) for h, w in content["sizes"])
        unpublished = tuple(content["unpublished_weights"])
        str(protocol["name"])
        for metric, result in overall.items():
            _check(metric, result)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{file}: not the metrics.json of {typed('evaluate')}: {problem}") from error
    return Evaluation(file, run, seed, set_name, protocol, which, sizes, unpublished, overall)


def _check(metric: str, result: dict[str, Any]) -> None:
    """Raise ValueError, TypeError or KeyError for a result that ``Evaluator`` does not produce."""
    mean, ends = result["mean"], result.get("ci95")
    numbers = [mean or 0.0, *(ends or (0.0, 0.0))]
    if len(numbers) != 3 or not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
        raise ValueError(f"{metric}: expected a finite mean and ci95 of two numbers, got {mean} and {ends}")
    if not isinstance(result["n"], int):
        raise ValueError(f"{metric}.n: expected a number of images, got {result['n']!r}")

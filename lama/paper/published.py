"""The paper's tables as data: ``published.yaml``, each cell with its value as printed and its source."""

import importlib.resources
from dataclasses import dataclass
from typing import Any

import yaml

from lama.pages.table import TIMES
from lama.paper.layout import Column, Layout, Published


@dataclass(frozen=True)
class PaperColumn(Column):
    """An evaluation set of the paper."""

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
class PaperTable(Layout):
    """A table of the paper: its rows, its columns and the published values."""

    rows: tuple[Row, ...]
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
        """The names of our runs of the paper's methods."""
        return {row.run for table in self.tables for row in table.rows}


def read_paper() -> Paper:
    """The published tables, from the data of this package."""
    file = importlib.resources.files("lama.paper").joinpath("published.yaml")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    columns = {key: _column(key, settings) for key, settings in content["columns"].items()}
    tables = tuple(_table(entry, columns, content) for entry in content["tables"])
    return Paper(content["paper"], tuple(content["metrics"]), content["protocol"], tables)


def _column(key: str, settings: dict[str, Any]) -> PaperColumn:
    size, masks = settings["size"], settings["masks"].lower()
    return PaperColumn(key, f"{settings['dataset']} ({size} {TIMES} {size}), {masks}", **settings)


def _table(entry: dict[str, Any], columns: dict[str, PaperColumn], content: dict[str, Any]) -> PaperTable:
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

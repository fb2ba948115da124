"""The shape of a table: its text columns, its evaluation sets, the words for its baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    text: str  # as printed
    source: str

    @property
    def value(self) -> float:
        return float(self.text)


@dataclass(frozen=True)
class Column:
    """An evaluation set; each of its metrics is a column of numbers."""

    key: str
    title: str  # in print, such as ``Places (512 x 512), wide masks``

    def set_name(self, size: int | None) -> str:
        """The folder of its evaluations; only the paper's sets exist at another ``size`` (pixels)."""
        return self.key


@dataclass(frozen=True)
class Layout:
    """A table without its numbers."""

    number: int | None  # of LaMa's paper; None = another table
    title: str
    headings: tuple[str, ...]  # of the text columns
    columns: tuple[Any, ...]  # of ``Column``
    baseline: str  # in words; empty = none
    labels: Mapping[str, str] = field(default_factory=dict, kw_only=True)  # of metrics that this version lacks

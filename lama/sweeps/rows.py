"""The rows of a sweep: named configurations, and one row for each of several values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException


@dataclass(frozen=True)
class Row:
    """One row of a table: the name of its folder, its configuration of training, and its own overrides."""

    name: str
    configuration: str
    overrides: list[str]


def named_rows(rows: Sequence[str] | Mapping[str, Sequence[str]], own: Mapping[str, Sequence[str]]) -> list[Row]:
    """``[CONFIGURATION, ...]`` or ``{NAME: [CONFIGURATION, OVERRIDE, ...], ...}``, with the overrides ``own`` by name.

    Raises ValueError for a row without a configuration.
    """
    made = []
    for name, given in rows.items() if isinstance(rows, Mapping) else ((row, [row]) for row in rows):
        if not given or not re.fullmatch(r"[\w.-]+", given[0]):
            expected = "expected [CONFIGURATION, KEY=VALUE, ...], such as [demo, losses=lama]"
            raise ValueError(f"rows.{name}={list(given)}: {expected}")
        made.append(Row(name, given[0], [*given[1:], *own.get(name, [])]))
    return made


def split_values(overrides: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The overrides with one value, and of each with several (``KEY=A,B``) one override for every value.

    Raises ValueError for a glob or an interval, which have no list of values.
    """
    fixed, varied = [], []
    for text in overrides:
        try:
            one = OverridesParser.create().parse_override(text)
        except OverrideParseException:
            fixed.append(text)  # the composition of the row names the mistake
            continue
        if not one.is_sweep_override():
            fixed.append(text)
        elif one.is_choice_sweep() or one.is_range_sweep():
            varied.append([f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()])
        else:
            raise ValueError(f"{text}: expected a list of values, {one.key_or_group}=A,B or range(FIRST,END,STEP)")
    return fixed, varied


def has_values(text: str) -> bool:
    """Whether an override has several values, or an interval of them."""
    try:
        return OverridesParser.create().parse_override(text).is_sweep_override()
    except OverrideParseException:
        return False


def vary(row: Row, choice: Sequence[str]) -> Row:
    """``row`` with the overrides ``choice``, which its name states: ``demo,optimizers.generator.lr=0.001``."""
    name = ",".join([row.name, *(re.sub(r"[^\w.=,+-]", "-", one.lstrip("+")) for one in choice)])
    return Row(name, row.configuration, [*row.overrides, *choice])

"""The names of the methods in a figure."""

from collections.abc import Sequence

from lama.evaluation.compare import short_names


def labels_of(places: Sequence[str], names: Sequence[str] | None) -> list[str]:
    """``names``, or the ends of the paths ``places`` for None. Raises ValueError unless there is one for each place."""
    if names is None:
        return short_names(places)
    if isinstance(names, str) or len(names) != len(places):
        raise ValueError(f"names={names}: expected a list of {len(places)} names, one for each folder")
    return [str(name) for name in names]

"""The names of the methods in a figure."""

from collections.abc import Sequence

from lama.evaluation.compare import short_names


def labels_of(places: Sequence[str], names: Sequence[str] | None) -> list[str]:
    """``names``, or for None the parts in which paths differ: base and laplace of base/faces and laplace/faces.

    Raises ValueError unless there is one for each place.
    """
    if names is None:
        ends = [name.split("/") for name in short_names(places)]
        while len(ends) > 1 and len(ends[0]) > 1 and len({parts[-1] for parts in ends}) == 1:
            ends = [parts[:-1] for parts in ends]
        return ["/".join(parts) for parts in ends]
    if isinstance(names, str) or len(names) != len(places):
        raise ValueError(f"names={names}: expected a list of {len(places)} names, one for each folder")
    return [str(name) for name in names]

"""The folder of a plan: a sweep, or the shards of one prediction beside its results."""

from pathlib import Path
from typing import Any

from lama.sweeps.plan import load
from lama.sweeps.shards import FILE, PLACE, Shards, load_shards


def load_any(folder: str | Path) -> Any:
    """The sweep or the shards in ``folder``, or the shards of the results in it. Raises as ``plan.load``."""
    found = find_shards(folder)
    return load(folder) if found is None else found


def find_shards(folder: str | Path) -> Shards | None:
    """The shards in ``folder``, or beside the results in it; None if there are none."""
    places = (Path(folder), Path(folder) / PLACE)
    return next((load_shards(place) for place in places if (place / FILE).is_file()), None)

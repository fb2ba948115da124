"""The folder of a plan: a sweep, or the shards of one prediction beside its results."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lama.sweeps import settings
from lama.sweeps.plan import load
from lama.sweeps.shards import FILE, PLACE, Shards, load_shards
from lama.sweeps.state import states, table


def load_any(folder: str | Path) -> Any:
    """The sweep or the shards in ``folder``, or the shards of the results in it. Raises as ``plan.load``."""
    found = find_shards(folder)
    return load(folder) if found is None else found


def find_shards(folder: str | Path) -> Shards | None:
    """The shards in ``folder``, or beside the results in it; None if there are none."""
    return next((load_shards(place) for place in _places(folder) if (place / FILE).is_file()), None)


def holds_prediction(folder: str | Path) -> bool:
    """Whether a prediction in shards was begun in ``folder``, as jobs or by commands with shard=."""
    return any((place / name).is_file() for place in _places(folder) for name in (FILE, settings.FILE))


def prediction_status(folder: str | Path) -> str:
    """The state of the jobs of a prediction; if shards were started one by one, the number of its results.

    Raises FileNotFoundError or ValueError if the images of the prediction cannot be listed any more.
    """
    shards = find_shards(folder)
    if shards is not None:
        return table(states(shards, shards.pieces()))
    from lama.sweeps.prediction import found_of, written  # with torch, which the state of jobs does without

    place = next(place for place in _places(folder) if (place / settings.FILE).is_file())
    where = {"outdir": str(place.parent) if place.name == PLACE else None, "image": None, "out": None}
    found = found_of(OmegaConf.create({**(settings.read(place) or {}), **where}))
    return (f"{written(found)} of {len(found.items)} results are in {found.where}; its shards were started one by one, "
            "with shard=, so no jobs are recorded")  # fmt: skip


def _places(folder: str | Path) -> tuple[Path, Path]:
    return Path(folder), Path(folder) / PLACE

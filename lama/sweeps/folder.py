"""The folder of a plan: a sweep, or the shards of a prediction or an evaluation beside its results."""

from collections import Counter
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lama.sweeps import settings
from lama.sweeps.plan import load
from lama.sweeps.settings import EVALUATION
from lama.sweeps.shards import FILE, PIECES, PLACE, Shards, load_shards
from lama.sweeps.state import states, table

ONE_BY_ONE = "its shards were started one by one, with shard=, so no jobs are recorded"


def load_any(folder: str | Path) -> Any:
    """The sweep or the shards in ``folder``, or the shards of the results in it. Raises as ``plan.load``."""
    found = find_shards(folder)
    return load(folder) if found is None else found


def find_shards(folder: str | Path) -> Shards | None:
    """The shards in ``folder``, or beside the results in it; None if there are none."""
    return next((load_shards(place) for place in _places(folder) if (place / FILE).is_file()), None)


def holds_shards(folder: str | Path) -> bool:
    """Whether a prediction or an evaluation in shards was begun in ``folder``, as jobs or by commands with shard=."""
    return any((place / name).is_file() for place in _places(folder) for name in (FILE, settings.FILE))


def shards_status(folder: str | Path) -> str:
    """The state of the jobs; if shards were started one by one, the number of results or of finished shards.

    Raises FileNotFoundError or ValueError if the images of the prediction cannot be listed any more.
    """
    shards = find_shards(folder)
    if shards is not None:
        return table(states(shards, shards.pieces()))
    place = next(place for place in _places(folder) if (place / settings.FILE).is_file())
    if EVALUATION.inner in (settings.read(place) or {}):
        return _finished(place)
    from lama.sweeps.prediction import found_of, written  # with torch, which the state of jobs does without

    where = {"outdir": str(place.parent) if place.name == PLACE else None, "image": None, "out": None}
    found = found_of(OmegaConf.create({**(settings.read(place) or {}), **where}))
    return f"{written(found)} of {len(found.items)} results are in {found.where}; {ONE_BY_ONE}"


def _finished(place: Path) -> str:
    """The number of finished shards of an evaluation, from the names of their pieces, such as 3-of-64.npz."""
    numbers = Counter(int(file.stem.partition("-of-")[2]) for file in (place / PIECES).glob("*-of-*.npz"))
    counts = ", ".join(f"{count} of {shards} shards are finished" for shards, count in sorted(numbers.items()))
    return f"{counts or 'no shard is finished'}; {ONE_BY_ONE}"


def _places(folder: str | Path) -> tuple[Path, Path]:
    return Path(folder), Path(folder) / PLACE

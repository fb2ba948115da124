"""The command line of -m shards=N: its own keys, and the jobs that an earlier one has started."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lama.config import compose
from lama.sweeps.shards import FILE, Shards, load_shards
from lama.sweeps.state import QUEUED, RUNNING, states

KEYS = ("shards", "launcher", "retries")  # of the command with -m; all other keys belong to the verb
Read = Callable[[list[str]], Any]  # arguments -> the configuration of the verb


def divided(
    verb: str, arguments: Sequence[str], read: Read, place: Callable[[Any], Path]
) -> tuple[Any, Shards]:  # fmt: skip
    """The configuration of ``verb``, and its shards; their folder is ``place(configuration)``.

    Raises ValueError for a mistake in the arguments.
    """
    arguments = [argument for argument in arguments if argument not in ("-m", "--multirun")]
    ours = [one for one in arguments if one.lstrip("+~").partition("=")[0].partition(".")[0] in KEYS]
    rest = [one for one in arguments if one not in ours]
    config = read(rest)
    if config.shard is not None:
        raise ValueError(f"shard={config.shard}: not with -m, which runs all shards; remove shard=")
    folder = place(config)
    composed: Any = OmegaConf.to_container(compose("sweep", "shards", ours), resolve=True)
    if composed["shards"] == "???":
        raise ValueError("-m: expected shards=N, the number of jobs")
    return config, Shards(verb, str(folder), composed["shards"], rest, composed["launcher"], composed["retries"])


def at_work(shards: Shards) -> set[int]:
    """The numbers of the shards that run or are in the queue. Raises ValueError if they are parts of another number."""
    if not (shards.folder / FILE).is_file():
        return set()
    begun = load_shards(shards.folder)
    busy = {one.work.number for one in states(begun, begun.pieces()) if one.state in (RUNNING, QUEUED)}
    if busy and begun.shards != shards.shards:
        raise ValueError(f"shards={shards.shards}: jobs of shards={begun.shards} are at work in "
                         f"{shards.folder.parent}; wait for them, or scancel them")  # fmt: skip
    return busy

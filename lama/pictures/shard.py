"""One part of a list: the same on every machine, and whatever else the list holds."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``shards`` parts, counted from 0, as SLURM_ARRAY_TASK_ID counts.

    A name belongs to the part sha256(name) mod ``shards``: to one part only, and to the same one when names are added
    or removed. So parts are equal up to chance: n names give n / shards, with a deviation of about its square root.
    Raises ValueError for numbers that are no part.
    """

    number: int
    shards: int

    def __post_init__(self) -> None:
        if not _whole(self.shards) or self.shards < 1:
            raise ValueError(f"shards={self.shards}: expected a whole number of at least 1")
        if not _whole(self.number) or not 0 <= self.number < self.shards:
            raise ValueError(f"shard={self.number}: expected a whole number from 0 to shards-1, {self.shards - 1}")

    def __str__(self) -> str:
        return f"shard {self.number} of {self.shards}"

    def holds(self, name: str) -> bool:
        return number_of(name, self.shards) == self.number


def number_of(name: str, shards: int) -> int:
    """The part that ``name`` belongs to."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % shards


def shard_of(number: int | None, shards: int | None) -> Shard | None:
    """The part that the keys shard= and shards= of a command name; None for neither. Raises ValueError for only one."""
    if number is None and shards is None:
        return None
    if number is None or shards is None:
        lacking = "shard" if number is None else "shards"
        raise ValueError(
            f"{lacking}= is missing: shard=0 shards=64 is the first of 64 parts; -m shards=64 runs them all"
        )
    return Shard(number, shards)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

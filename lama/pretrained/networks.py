"""Released networks of LaMa by their names."""

import logging
from difflib import get_close_matches
from pathlib import Path

from lama.files import sha256_of
from lama.pretrained.fetch import CannotFetchError, fetch
from lama.pretrained.misfits import misfits
from lama.pretrained.places import cache_dir, find_copy
from lama.pretrained.table import NETWORKS, NOT_READ

logger = logging.getLogger(__name__)


def here(name: str) -> tuple[str, Path] | None:
    """(origin, file) of the network ``name`` on this machine, whole and checked; None if it has to be fetched."""
    found = (find_copy(spec) for spec in NETWORKS[name].files)
    return next((copy for copy in found if copy is not None), None)


def released(name: str, download: bool = True) -> Path:
    """The file of the released network ``name``: found on this machine by its content, else fetched.

    Raises FileNotFoundError, in one line with every address, size and sha256 and the folder for the file, where it
    cannot be had, and OSError where the cache folder cannot be written.
    """
    network = NETWORKS[name]
    copy = here(name)
    if copy is not None:
        if copy[0] != "lama":
            logger.info("%s: %s, fetched by another program (%s)", name, copy[1], copy[0])
        return copy[1]
    reasons = []
    for spec in network.files if download else ():
        try:
            file = fetch(spec)
            logger.info("%s: licence: %s", name, network.licence)
            return file
        except CannotFetchError as error:
            reasons += error.reasons
    why = ", ".join(dict.fromkeys(reasons)) or "not on this machine"
    ways = "; or ".join(f"{' or '.join(spec.addresses())} ({spec.check()})" for spec in network.files)
    raise FileNotFoundError(
        f"{name}: cannot be fetched ({why}){misfits(network.files)}; put one file, under any name, into {cache_dir()}: "
        f"{ways}"
    )


def nearest_names(name: str, more: tuple[str, ...] = ()) -> list[str]:
    """Up to three known names that resemble ``name``."""
    return get_close_matches(name.lower(), [*more, *NETWORKS], n=3, cutoff=0.5)


def not_read(file: Path) -> str:
    """What a file for another runtime is, and which name to take in its place; empty for an unknown file."""
    for row in NOT_READ:
        same = file.stat().st_size == row["size"] if "size" in row else file.name == row["file"]
        if same and sha256_of(file) == row["sha256"]:
            return f"{row['what']}; take model.path={row['instead']}"
    return ""

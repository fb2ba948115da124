"""Frozen networks of losses and metrics: from an explicit path, then from this machine, then from a mirror.

There is no silent fallback. ``require`` runs before anything is built; its one-line error names the missing file, the
folder, the addresses, the sha256, and the setting that does not need the file.
"""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lama.files import sha256_of
from lama.pretrained.fetch import CannotFetchError, fetch
from lama.pretrained.misfits import misfits
from lama.pretrained.places import cache_dir, find_copy
from lama.pretrained.table import WEIGHT_FILES

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


class MissingWeightsError(FileNotFoundError):
    """A weight file is not on this machine and could not be downloaded; ``missing_file`` and ``key`` name it."""

    def __init__(self, message: str, missing_file: str, key: str = "") -> None:
        super().__init__(message)
        self.missing_file, self.key = missing_file, key


def find(name: str, path: str | None = None) -> Path | None:
    """``path``, or a file with the content of ``name`` on this machine, or None.

    Raises FileNotFoundError if a given ``path`` is not a file, ValueError if another file lies at its place in the
    cache. Where no sha256 is published, the file at that place is taken.
    """
    spec = WEIGHT_FILES[name]
    if path is not None:
        given = Path(path).expanduser()
        if not given.is_file():
            raise FileNotFoundError(f"weights.{name}: no such file: {given}; expected {spec.filename} from {spec.url}")
        return given
    copy = find_copy(spec)
    if copy is not None:
        return copy[1]
    for own in (cache_dir() / spec.filename, cache_dir() / "ade20k" / spec.filename):
        if own.is_file():
            raise ValueError(
                f"weights.{name}: {own} has sha256 {sha256_of(own)}, expected {spec.check()}: the file is damaged or "
                f"another one; remove it, or pass weights.{name}={own} to use it"
            )
    return None


def require(name: str, path: str | None = None, download: bool = True) -> Path:
    """``find``, or download into the cache. Raises MissingWeightsError if neither succeeds.

    A file given by its path may have another sha256 than the published one; a warning is logged once.
    """
    found = find(name, path)
    spec = WEIGHT_FILES[name]
    if found is not None:
        _warn_unpublished(name, found)
        return found
    reason = f"not fetched by this command; lama weights get {name} does" if spec.sha256 else "no automatic download"
    if spec.sha256 and download:
        try:
            return fetch(spec)
        except CannotFetchError as error:
            reason = f"not fetched: {error}"
    where = " or ".join([*spec.addresses(), *spec.pages])
    raise MissingWeightsError(
        f"weights.{name}: {spec.filename} is missing; looked for {cache_dir() / spec.filename}; {reason}"
        f"{misfits([spec])}; get it from {where} ({spec.check()}) and put it there or pass weights.{name}=PATH; not "
        f"needed with: {spec.without}",
        Path(spec.filename).name,
        name,
    )


def how_to_get(names: Sequence[str]) -> str:
    """How to get missing files: the command for all that have a published sha256, else the addresses."""
    fetched = [name for name in names if WEIGHT_FILES[name].sha256]
    lines = [f"lama weights get {' '.join(fetched)}"] * bool(fetched)
    for name in names:
        spec = WEIGHT_FILES[name]
        if not spec.sha256:
            lines.append(f"weights.{name}=PATH, a file from {' or '.join([*spec.addresses(), *spec.pages])}")
    return "; ".join(lines) + misfits([WEIGHT_FILES[name] for name in names])


def is_published(name: str, file: Path) -> bool:
    """True if a file has the published sha256, or if none is published."""
    return WEIGHT_FILES[name].sha256 in ("", sha256_of(file))


@functools.cache
def _warn_unpublished(name: str, file: Path) -> None:
    if not is_published(name, file):
        spec = WEIGHT_FILES[name]
        logger.warning(
            "weights.%s: %s is not the published file, %s with sha256 %s: numbers may not be comparable",
            name, file, spec.filename, spec.sha256,
        )  # fmt: skip


def load_into(network: Network, name: str, path: str | None = None) -> Network:
    """Fill ``network`` with the weights ``name``. Raises ValueError if a tensor is missing or has another shape."""
    file = require(name, path)
    released = read_state_dict(file, name)
    wanted = network.state_dict()
    missing = [key for key in wanted if key not in released and not key.endswith("num_batches_tracked")]
    wrong = [key for key in wanted if key in released and released[key].shape != wanted[key].shape]
    if missing or wrong:
        raise ValueError(
            f"weights.{name}: {file} is not {WEIGHT_FILES[name].filename}: {len(missing)} keys are missing, "
            f"{len(wrong)} have another shape; the first is {(missing + wrong)[0]!r}"
        )
    network.load_state_dict({key: released.get(key, value) for key, value in wanted.items()})
    return network


def read_state_dict(file: Path, name: str) -> dict[str, Tensor]:
    """Read a ``.pth`` of plain tensors without executing code from it. Raises ValueError for other content."""
    expected = f"expected {WEIGHT_FILES[name].filename} from {WEIGHT_FILES[name].url}"
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, ... for a damaged file
        what = f"not a readable weight file ({type(error).__name__})"
        raise ValueError(f"weights.{name}: {file}: {what}; {expected}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        holds = f"holds {type(content).__name__}, not a state dict of tensors"
        raise ValueError(f"weights.{name}: {file} {holds}; {expected}")
    return content

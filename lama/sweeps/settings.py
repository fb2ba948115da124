"""The settings of results that are made in parts: stored beside them, so that no part is made with others."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from lama.files import write_text
from lama.machine.lock import is_locked, only_one
from lama.sweeps.plan import read_yaml

FILE, LOCKS = "settings.yaml", "locks"  # in the hidden folder beside the results
WAIT = 600  # seconds: the first of many shards may list a million results before it stores the settings


@dataclass(frozen=True)
class Kind:
    """Results that can be made in parts, and the keys of their configuration."""

    noun: str  # in messages
    inner: str  # a node that repeats most keys
    free: tuple[str, ...]  # keys that do not change the results
    paths: tuple[str, ...]  # keys that are equal if they name the same place
    remedy: str  # of other settings


PREDICTION = Kind(
    "prediction", "inpainter",
    ("outdir", "image", "out", "skip_existing", "overwrite", "shard", "shards", "max_memory", "max_megapixels"),
    ("indir", "maskdir", "pairs", "ignore", "mask.path", "model.path"),
    "give the same, or another outdir=",
)  # fmt: skip
EVALUATION = Kind(
    "evaluation", "evaluator", ("outdir", "overwrite", "cache", "shard", "shards"),
    ("indir", "predictdir", "model.path"), "give the same, another outdir=, or overwrite=true",
)  # fmt: skip


def keep(
    folder: Path, now: Mapping[str, Any], where: str, any_result: Callable[[], bool], own_lock: Path | None = None,
    kind: Kind = PREDICTION,
) -> None:  # fmt: skip
    """Store the settings ``now`` in ``folder``, unless they are there.

    Raises ValueError, beginning with ``where``, for settings other than those stored, if a result exists or a shard is
    at work (but the one of ``own_lock``); and for a result that exists without stored settings.
    """
    with only_one(_made(folder / LOCKS / "settings"), what=kind.noun, wait=WAIT):
        before = read(folder)
        if before == now:
            return
        if before is None and any_result():
            raise ValueError(
                f"{where}: holds results, but no record of their settings; choose another place for "
                "these, or complete them with skip_existing=true, without -m and shard="
            )
        if before is not None and (any_result() or _at_work(folder, own_lock)):
            check(before, now, where, kind)
        write_text(folder / FILE, yaml.safe_dump(dict(now), sort_keys=False))


def check_whole(folder: Path, now: Mapping[str, Any], where: str, any_result: Callable[[], bool]) -> None:
    """The same for a prediction that is not divided: it stores nothing, and needs no stored settings."""
    before = read(folder)
    if before is None or before == now:
        return
    if any_result() or _at_work(folder, None):
        check(before, now, where)
    (folder / FILE).unlink(missing_ok=True)


def check(before: Mapping[str, Any], now: Mapping[str, Any], where: str, kind: Kind = PREDICTION) -> None:
    """Raise ValueError, with the keys and both values, where two settings differ."""
    old, new = dict(_flat(before)), dict(_flat(now))
    keys = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
    if keys:
        changes = ", ".join(f"{key}={_shown(old.get(key))} (now: {_shown(new.get(key))})" for key in keys)
        raise ValueError(f"{where}: its results were begun with {changes}; {kind.remedy}")


def settings_of(config: Any, kind: Kind = PREDICTION) -> dict[str, Any]:
    """What decides the results: the configuration without ``kind.free``, its paths absolute."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    inner = plain[kind.inner]
    plain[kind.inner] = {key: value for key, value in inner.items() if key not in plain or plain[key] != value}
    for path in kind.paths:
        *groups, key = path.split(".")
        node = plain[groups[0]] if groups else plain
        node[key] = _absolute(node[key])
    return {key: value for key, value in plain.items() if key not in kind.free}


def read(folder: Path) -> dict[str, Any] | None:
    """The settings stored in ``folder``; None if there are none. Raises ValueError for a damaged file."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        found = read_yaml(file)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{file}: damaged; expected the settings of the results beside it")
    return found


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _absolute(value: Any) -> Any:
    path = Path(str(value)).expanduser()
    return str(path.resolve()) if value is not None and path.exists() else value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)  # null, true


def _at_work(folder: Path, own_lock: Path | None) -> bool:
    return any(is_locked(one) for one in (folder / LOCKS).glob("*-of-*") if one != own_lock)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder

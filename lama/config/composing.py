"""Compose a configuration out of ``configs/``, without Hydra where nothing needs it: its import takes time."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf

from lama.config.folder import CONFIGS

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?")
_WORD = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z]\w*", re.IGNORECASE | re.ASCII)
_QUOTED = re.compile(r"'([^'\\$]*)'")  # without escapes and interpolations
_CONSTANTS = {"true": True, "false": False, "null": None}


def compose(group: str, name: str, overrides: Sequence[str] = (), config_dir: str | None = None) -> DictConfig:
    """The configuration ``group``/``name`` with ``overrides``. Raises ValueError, naming the key, for a wrong one."""
    if config_dir is not None and not Path(config_dir).is_dir():
        raise FileNotFoundError(f"--config-dir {config_dir}: no such folder")
    config = _composed_plainly(CONFIGS / group / f"{name}.yaml", overrides) if config_dir is None else None
    if config is not None:
        return config
    from lama.config import hydra_composing

    return hydra_composing.compose(group, name, overrides, config_dir)


def _composed_plainly(file: Path, overrides: Sequence[str]) -> DictConfig | None:
    """The configuration as Hydra composes it; None for a file with a defaults list and for an override beyond these:

    a key that the file has, and a number, a word, a text in single quotes, true, false or null.
    """
    if not file.is_file():
        return None
    config: Any = OmegaConf.load(file)
    if "defaults" in config:
        return None
    OmegaConf.set_struct(config, True)
    for override in overrides:
        key, _, text = override.partition("=")
        found, value = _value(text)
        parent: Any = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
        leaf = key.rpartition(".")[2]
        if not found or not isinstance(parent, DictConfig) or leaf not in parent:
            return None
        if isinstance(dict(parent.items_ex(resolve=False))[leaf], DictConfig | ListConfig):
            return None
        parent[leaf] = value
    return cast(DictConfig, config)


def _value(text: str) -> tuple[bool, Any]:
    """(whether ``text`` is a plain value, the value that Hydra's grammar gives it)."""
    if text in _CONSTANTS:
        return True, _CONSTANTS[text]
    number, quoted = _NUMBER.fullmatch(text), _QUOTED.fullmatch(text)
    if number:
        return True, float(text) if number[1] else int(text)
    if quoted:
        return True, quoted[1]
    return bool(_WORD.fullmatch(text)), text


def to_yaml(config: DictConfig) -> str:
    """The configuration as YAML, with every interpolation resolved."""
    return OmegaConf.to_yaml(config, resolve=True)


def load_yaml(path: str | Path) -> DictConfig:
    """Read a YAML file, such as the config.yaml of a run. Raises FileNotFoundError if there is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the config.yaml of a training run")
    return cast(DictConfig, OmegaConf.load(path))


def primary(group: str, config_dir: str | None = None) -> list[str]:
    """The complete configurations of ``group``, which -cn can choose."""
    return [name for name in choices(group, "", config_dir) if name != "base"]


def choices(group: str, folder: str, config_dir: str | None = None) -> list[str]:
    """The configurations in ``folder`` of ``group``: the built-in ones, and the user's in ``config_dir``."""
    roots = [CONFIGS / group, *([] if config_dir is None else [Path(config_dir)])]
    return sorted({path.stem for root in roots for path in (root / folder).glob("*.yaml")})

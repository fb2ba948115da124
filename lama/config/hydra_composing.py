"""Compose by Hydra: defaults lists and every kind of override, and its errors in one line."""

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from lama.config.composing import choices, primary
from lama.config.folder import CONFIGS
from lama.config.gate import resolve_target
from lama.config.wording import joined, nearest
from lama.verbs import quoted


def compose(group: str, name: str, overrides: Sequence[str] = (), config_dir: str | None = None) -> DictConfig:
    """As ``lama.config.composing.compose``."""
    folders = [CONFIGS / group] if config_dir is None else [CONFIGS / group, Path(config_dir).resolve()]
    folders.sort(key=lambda folder: not (folder / f"{name}.yaml").is_file())  # Hydra looks for NAME in the first only
    try:
        for one in OverridesParser.create().parse_overrides(list(overrides)):
            if one.is_sweep_override():
                each = f"-m sweep=seeds row={name} {one.input_line} trains each; " if group == "training" else ""
                raise ValueError(f"{one.input_line}: several values, expected one; {each}a list is "
                                 f"{one.key_or_group}=[A,B]")  # fmt: skip
        return _compose(folders, name, overrides)
    except ValueError as error:
        if "Config group override must be" not in str(error):
            raise
        raise ValueError(_no_such_choice(group, overrides, config_dir)) from error
    except MissingConfigException as error:
        raise ValueError(_no_such_config(str(error), group, config_dir)) from error
    except ConfigCompositionException as error:
        if "Could not override" not in str(error):
            raise
        key = str(error).split("'")[1]
        weights = [one for one in overrides if one.startswith(f"{key}=")]
        if weights and (part := re.fullmatch(r"data\.path\.([^.]+)\.weight", key)):
            rest = [one for one in overrides if one not in weights]
            _check_part(key, part[1], compose(group, name, rest, config_dir))
            return compose(group, name, [*rest, *(f"++{one}" for one in weights)], config_dir)
        chosen = [one for one in overrides if "=" in one and choices(group, one.split("=")[0], config_dir)]
        composed = _compose(folders, name, chosen)
        advice = _unlisted(key, composed) or f"unknown config key{nearest(key, _keys(composed))}"
        raise ValueError(f"{key}: {advice}") from error
    except OverrideParseException as error:
        if not re.match(r"[+~]{0,2}[\w./@]+=", override := str(error.override)):
            raise ValueError(f"{override}: expected KEY=VALUE, without dashes or spaces around =") from error
        reason = str(error).splitlines()[0]
        raise ValueError(f"{override}: not readable ({reason}); {_quoting(override, group)}") from error


def _quoting(override: str, group: str) -> str:
    """How to write odd characters in ``override``: a value, a list or a mapping."""
    key, _, value = override.partition("=")
    if value.startswith("["):
        return f"quote odd entries: \"{key}=[A,'B (c)']\""
    if value.startswith("{"):
        instead = "; for other names \"names=[A,'B (c)']\" beside rows=[OUT_A,OUT_B]" if group == "tables" else ""
        return f"in braces only values take quotes: \"{key}={{A:'VALUE'}}\"{instead}"
    return "quote odd values: \"KEY='VALUE'\""


def _compose(folders: Sequence[Path], name: str, overrides: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    more = [f"hydra.searchpath=['file://{folder}']" for folder in folders[1:]]
    with hydra.initialize_config_dir(str(folders[0]), version_base="1.3"):
        return hydra.compose(name, [*_of_hardware(folders, overrides), *overrides, *more])


def _of_hardware(folders: Sequence[Path], overrides: Sequence[str]) -> list[str]:
    """The settings of ``hardware=NAME`` as overrides: a primary configuration states a batch size too, and is last."""
    chosen = [one.partition("=")[2].strip("'\"") for one in overrides if one.startswith("hardware=")]
    files = [file for name in chosen[-1:] for folder in folders if (file := folder / f"hardware/{name}.yaml").is_file()]
    return [f"++{key}={value}" for file in files[:1] for key, value in _leaves(OmegaConf.load(file))]


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, value in Hydra's spelling) of every value below a mapping."""
    plain: Any = OmegaConf.to_container(node, resolve=False)
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from _leaves(OmegaConf.create(value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", quoted(value) if isinstance(value, str) else json.dumps(value)


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every key, with those above it: ``data``, ``data.batch_size``, ..."""
    for name, value in config.items_ex(resolve=False):
        key = prefix + str(name)
        yield key
        if isinstance(value, DictConfig):
            yield from _keys(value, f"{key}.")


def _check_part(key: str, name: str, config: DictConfig) -> None:
    """Raise ValueError for the weight of a part that a mixture lacks; a part without a weight takes one."""
    parts = OmegaConf.select(config, "data.path")
    if not isinstance(parts, DictConfig):
        raise ValueError(f'{key}: only with data=mixture "data.path={{{name}: {{path: FOLDER}}, ...}}"')
    if name not in parts:
        raise ValueError(f"{key}: no such part{nearest(name, map(str, parts))}; known: {', '.join(map(str, parts))}")


def _unlisted(key: str, config: DictConfig) -> str:
    """How to set ``key`` if it is an option of its class that the YAML leaves out, else nothing."""
    parent, _, name = key.rpartition(".")
    target = OmegaConf.select(config, f"{parent}._target_") if parent else None
    if (
        target is None
        or not str(target).startswith("lama.")
        or name not in inspect.signature(resolve_target(parent, target)).parameters
    ):
        return ""
    return f"an option of {target} that its YAML does not list; put a plus before it: +{key}=VALUE"


def _no_such_choice(group: str, overrides: Sequence[str], config_dir: str | None) -> str:
    """Name the override that chooses nothing of a group of configurations: ``masks=null``."""
    for one in overrides:
        key, _, value = one.partition("=")
        known = choices(group, key.partition("@")[0], config_dir)
        if value in ("null", "None") and known:
            return f"{one}: expected one of {', '.join(known)}"
    return "a group of configurations: expected a name or a list of names"


def _no_such_config(text: str, directory: str, config_dir: str | None) -> str:
    """Name the configuration that Hydra's message ``text`` misses, the nearest that exists, and all that do."""
    found = re.search(r"(?:primary config '|Could not (?:find|load) ')([^']+)'", text)
    if found is None:
        return joined(text)
    group, _, name = found[1].rpartition("/")
    official = OmegaConf.load(CONFIGS / "official_names.yaml")
    ours = OmegaConf.select(official, f"{group or 'primary'}.{name.lower()}")
    known = choices(directory, group, config_dir) if group else primary(directory, config_dir)
    advice = f"; that is {ours} here" if ours else nearest(name, known)
    return f"{f'{group}={name}' if group else f'-cn {name}'}: no such configuration{advice}; known: {', '.join(known)}"

"""The arguments of a command that is configured by YAML: KEY=VALUE, and a few options."""

import argparse
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lama.config.composing import compose, primary
from lama.config.folder import CONFIGS
from lama.config.plugins import use_plugins
from lama.config.wording import nearest
from lama.verbs import quoted, spelled

OPTIONS = ("-cn", "--config-name", "-cd", "--config-dir", "--cfg", "-h", "--help")


def read(
    arguments: Sequence[str],
    usage: str,
    group: str,
    name: str | None = "default",
    paths: Sequence[str] = (),
    short: Mapping[str, str] = types.MappingProxyType({}),
) -> DictConfig:
    """The configuration that ``arguments`` ask for: ``configs/<group>/<name>.yaml`` with their overrides.

    If ``name`` is None, the user has to choose one with -cn NAME. Values of the keys ``paths`` need no quotes, whatever
    characters they hold. ``short`` maps abbreviated keys to full ones. --help prints ``usage`` and every key, --cfg the
    composed configuration; both exit with 0. The packages of the key ``plugins`` are imported. Raises ValueError,
    in one line, for a mistake in the arguments and for a package that cannot be imported.
    """
    options, overrides = options_of(arguments)
    if options.help:
        print(_help(spelled(usage.strip()), group, name))
        sys.exit(0)
    chosen = options.config_name or name
    if chosen is None:
        raise ValueError(
            f"-cn NAME: a configuration is required; known: {', '.join(primary(group, options.config_dir))}"
        )
    overrides = [literal(override, paths, short) for override in overrides]
    config = compose(group, chosen, overrides, options.config_dir)
    use_plugins(config.get("plugins") or ())
    if options.cfg is not None:
        print(OmegaConf.to_yaml(config))
        sys.exit(0)
    return config


def literal(argument: str, paths: Sequence[str], short: Mapping[str, str] = types.MappingProxyType({})) -> str:
    """An override with its key in full and, if it names a path, with its value in Hydra's quotes."""
    key, equals, value = argument.partition("=")
    key = short.get(key, key) if equals else key
    if key not in paths or not equals or value in ("", "null") or value[0] in "'\"" or value.startswith("${"):
        return f"{key}{equals}{value}"
    return f"{key}={quoted(value)}"


def options_of(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options config_name, config_dir, cfg and help, and the overrides. Raises ValueError for any other option."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-cn", "--config-name")
    parser.add_argument("-cd", "--config-dir")
    parser.add_argument("--cfg", nargs="?", const="job", choices=["job"])
    parser.add_argument("-h", "--help", action="store_true")
    try:
        options, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(str(error).removeprefix("argument ")) from error
    unknown = [argument for argument in rest if argument.startswith("-")]
    if unknown:
        advice = nearest(unknown[0], OPTIONS)
        raise ValueError(f"{unknown[0]}: unknown option{advice}; settings are KEY=VALUE, without dashes")
    return options, rest


def _help(usage: str, group: str, name: str | None) -> str:
    """The usage of a command, and the YAML with all of its keys; its comments explain them."""
    if name is not None:
        file = CONFIGS / group / f"{name}.yaml"
        settings = f"{usage}\n\nSettings, each changed by KEY=VALUE ({file}):\n\n{_settings(file)}"
        return "\n\n".join([settings, *_groups(file)])
    base = CONFIGS / group / "base.yaml"
    parts = [
        f"{usage}\n\n-cn NAME is one of: {', '.join(primary(group))}.",
        f"Each of them changes some of the settings of {base}; --cfg prints the result. Change one by KEY=VALUE:",
        _settings(base),
        *_groups(base),
    ]
    return "\n\n".join(parts)


def _settings(file: Path) -> str:
    """The keys of a YAML file with their comments, without the entries that only Hydra needs."""
    text = file.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^#.*\n|^ *_(?:target|partial)_:.*\n|^ *- _self_\n", "", text)
    text = re.sub(r"(?m)^defaults:.*\n(?:  - .*\n(?: {4,}.*\n)*)*\n?", "", text)
    return re.sub(
        r"(?m)^(\w+):\n(?:  (\w+): \$\{\2(?:\.\w+)?\}\n)+", "", text
    ).strip()  # arguments that repeat keys above


def _groups(base: Path) -> Iterator[str]:
    """For each group of ``base``, its options and the settings of the one that is chosen there."""
    loaded: Any = OmegaConf.load(base)
    for entry in loaded.get("defaults", ()):
        if not isinstance(entry, DictConfig):
            continue
        group, option = next(iter(entry.items()))
        folder, _, key = str(group).partition("@")
        options = ", ".join(sorted(file.stem for file in (base.parent / folder).glob("*.yaml")))
        head = f"{key or folder}={option or 'null'}  (one of: {options})"
        settings = _settings(base.parent / folder / f"{option}.yaml") if option else ""
        yield "\n".join([head, *(f"  {line}" for line in settings.splitlines())])

"""From YAML to objects: the only file that knows Hydra.

``run`` is what the commands in ``bin/`` call; ``build`` turns a node of the configuration into the object it
describes, through one gate: a ``_target_`` outside the whitelist, a key its constructor does not know and a value of
another type are errors that name the key. Chosen here, checked in constructors: ranges, shapes and paths.

A term of the losses with ``weight: 0`` is not built at all, so that it needs no weights file either.
"""

import difflib
import errno
import importlib
import inspect
import logging
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
WHITELIST = ("lama.", "torch.optim.", "torch.utils.data.", "pytorch_lightning.")
_MODULE_OPTIONS = (  # of a recipe, for the module
    "second_generator_forward", "clip_norm", "cosine_lr", "ema_decay", "validate_raw", "sync_batchnorm", "accumulate",
    "recompute_blocks", "compiled", "winograd",
)  # fmt: skip
USER_ERRORS = (  # OSError as far as paths go: a full disk or a broken pipe is not a mistake in a command
    ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError,
    HydraException, OmegaConfBaseException,
)  # fmt: skip


def run(
    main: Callable[[DictConfig], None],
    group: str,
    name: str | None,
    paths: Sequence[str] = (),
    short: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """Run ``main`` on the configuration ``configs/<group>/<name>.yaml`` and the overrides of the command line.

    Where ``name`` is None the command line has to choose one, with -cn NAME. The values of the keys ``paths`` are taken
    as they are, whatever characters they hold; keys may have a ``short`` name on the command line.

    What a user did wrong (``USER_ERRORS``) prints one line and exits with 2; everything else is a traceback, as is
    everything where HYDRA_FULL_ERROR=1 is set.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra shall raise, not print and exit
    directory = str(CONFIGS / group)
    sys.argv[1:] = [literal(argument, paths, short) for argument in sys.argv[1:]]
    caught: list[Exception] = []

    def task(config: DictConfig) -> None:
        os.environ["HYDRA_FULL_ERROR"] = str(int(full))  # what the processes of a training shall find
        try:
            main(config)
        except Exception as error:  # kept from Hydra, which would print lines of its own
            if not _is_for_the_user(error):
                raise
            caught.append(error)
        finally:
            os.environ["HYDRA_FULL_ERROR"] = "1"

    if {"--help", "-h"} & set(sys.argv[1:]):
        print(_help(directory, name))
        return
    flags = ("-cn", "--config-name", "--hydra-help", "--version")
    if name is None and not any(argument.split("=")[0] in flags for argument in sys.argv[1:]):
        print(f"error: say what to train with -cn NAME; known: {', '.join(_primary(directory))}", file=sys.stderr)
        sys.exit(2)
    try:
        hydra.main(version_base="1.3", config_path=directory, config_name=name)(task)()
    except USER_ERRORS as error:
        caught.append(error)
    except KeyboardInterrupt:
        if full:
            raise
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = str(int(full))  # a child process shall not think that somebody asked for it
    if caught and full:
        raise caught[0]
    if caught:
        print(f"error: {printable(one_line(caught[0], directory, name, sys.argv[1:]))}", file=sys.stderr)
        sys.exit(getattr(caught[0], "exit_code", 2))


def _help(directory: str, name: str | None) -> str:
    """How a command is used, and every key it has: the configuration itself, whose comments explain them."""
    usage = str(sys.modules["__main__"].__doc__).strip()
    if name is None:
        base = (Path(directory) / "base.yaml").read_text()
        known = ", ".join(_primary(directory))
        return f"{usage}\n\n-cn NAME is one of: {known}; each states how it differs from\n\n{base}"
    text = (Path(directory) / f"{name}.yaml").read_text().partition("hydra:\n")[0]
    text = re.sub(r"(?m)^#.*\n|^defaults:\n(?:  - .*\n)+|^.*_(?:target|partial)_:.*\n", "", text)
    return f"{usage}\n\nKEY=VALUE changes what stands here ({directory}/{name}.yaml):\n\n{text}"


def literal(argument: str, paths: Sequence[str], short: Mapping[str, str] = types.MappingProxyType({})) -> str:
    """An override with its key in full and, where it names a path, the value in quotes, as Hydra wants odd ones."""
    key, equals, value = argument.partition("=")
    key = short.get(key, key) if equals else key
    if key not in paths or not equals or value in ("", "null") or value[0] in "'\"" or value.startswith("${"):
        return f"{key}{equals}{value}"
    end = len(value) - len(value.rstrip("\\"))  # Hydra takes a backslash for itself before a quote only
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value) + "\\" * end
    return f"{key}='{escaped}'"


def _is_for_the_user(error: Exception) -> bool:
    """A mistake in a command, or a disk that is full or cannot be written to; the rest are bugs, with a traceback."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG)
    return full or isinstance(error, USER_ERRORS)


def one_liner(main: Callable[[], None]) -> None:
    """Run a command that parses its own arguments; what a user did wrong prints one line and exits with 2."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        main()
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not _is_for_the_user(error) or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {printable(one_line(error, '', '', []))}", file=sys.stderr)
        sys.exit(2)


def load_data_gen(config: str, seed: int, labels: str | None) -> dict[str, Any]:
    """The settings of an evaluation set: a YAML, or the name of one in ``configs/data_gen``, with its masks filled in.

    Raises FileNotFoundError or ValueError where there is none, or it lacks the label maps that its masks come from.
    """
    file = Path(config) if Path(config).suffix else CONFIGS / "data_gen" / f"{config}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in (CONFIGS / "data_gen").glob("*.yaml")))
        raise FileNotFoundError(f"{config}: no such configuration of an evaluation set; known: {known}")
    settings = OmegaConf.to_container(OmegaConf.load(file))
    if not isinstance(settings, dict) or "_target_" not in settings or "masks" not in settings:
        raise ValueError(f"{file}: expected _target_, masks, size, ...; compare configs/data_gen/random_thick_256.yaml")
    if isinstance(settings["masks"], str):
        masks = load_yaml(CONFIGS / "training" / "masks" / f"{settings['masks']}.yaml")
        recipe = load_yaml(CONFIGS / "training" / "recipe" / "official.yaml")
        whole = OmegaConf.create({"masks": masks, "recipe": recipe})
        settings["masks"] = OmegaConf.to_container(whole, resolve=True)["masks"]  # type: ignore[index, call-overload]
    if labels is not None:
        if not str(settings["masks"].get("_target_", "")).endswith("Objects"):
            raise ValueError(f"--labels: {config} draws no objects; configurations that do: segm_256, segm_512")
        settings["masks"]["path"] = labels
    if settings["masks"].get("path") == "???":
        raise ValueError(f"{config}: its masks come from label maps; give their folder as --labels DIR")
    return {**settings, "seed": seed}


def build_data_gen(seed: int) -> Callable[[str], tuple[Any, dict[str, Any]]]:
    """A function from the name of an evaluation set to how it is made and the settings that say so."""

    def make(name: str) -> tuple[Any, dict[str, Any]]:
        settings = load_data_gen(name, seed, None)
        return build(settings, name), settings

    return make


def build(node: Any, key: str) -> Any:
    """Build the object that ``node``, found at ``key`` of the configuration, describes.

    Raises ValueError, naming the key, for a target, argument or type that is not allowed.
    """
    plain = _plain(node)
    for path, target, arguments in _targets(plain, key):
        _check_arguments(path, target, arguments)
    try:
        return hydra.utils.instantiate(plain, _convert_="all")
    except InstantiationException as error:
        raise error.__cause__ or error from None  # what the constructor said, without Hydra's wrapping


def flag(config: DictConfig, key: str) -> bool:
    """A switch of the configuration. Raises ValueError for anything but true and false; to Hydra ``no`` is a word."""
    value = OmegaConf.select(config, key)
    if not isinstance(value, bool):
        raise ValueError(f"{key}={value}: expected true or false")
    return value


def build_module(config: DictConfig) -> Any:
    """The ``InpaintingModule`` that a primary configuration of training describes."""
    from lama.training import InpaintingModule

    _check_arguments("recipe", InpaintingModule, {k: v for k, v in config.recipe.items() if k in _MODULE_OPTIONS})
    return InpaintingModule(
        generator=build(config.generator, "generator"),
        discriminator=build(config.discriminator, "discriminator"),
        objective=build(config.losses, "losses"),
        evaluator=build(config.evaluator, "evaluator"),
        optimizers=build(config.optimizers, "optimizers"),
        **{name: config.recipe[name] for name in _MODULE_OPTIONS},
    )


def preflight(config: DictConfig) -> None:
    """Before anything is built: let every target say what it cannot do without (a file of weights, say)."""
    plain = _plain(config)
    for _, target, arguments in _targets(plain, ""):
        check = getattr(target, "preflight", None)
        if check is not None:
            check(**{k: v for k, v in arguments.items() if not (isinstance(v, dict) and "_target_" in v)})


def to_yaml(config: DictConfig) -> str:
    """The resolved configuration."""
    return OmegaConf.to_yaml(config, resolve=True)


def load_yaml(path: str | Path) -> DictConfig:
    """A configuration that a run has left. Raises FileNotFoundError where there is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the config.yaml of a training run")
    return typing.cast(DictConfig, OmegaConf.load(path))


def _plain(node: Any) -> Any:
    """Resolve interpolations and leave out loss terms of weight 0."""
    plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node
    return _without_zero_weights(plain)


def _without_zero_weights(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_zero_weights(item) for item in node]
    if not isinstance(node, dict):
        return node
    if str(node.get("_target_", "")).startswith("lama.losses.") and node.get("weight") == 0:
        return None
    return {name: _without_zero_weights(value) for name, value in node.items()}


def _targets(node: Any, key: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(key, target, arguments) of every ``_target_`` below ``node``."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if isinstance(node, dict) and "_target_" in node:
        arguments = {name: value for name, value in node.items() if name not in ("_target_", "_partial_")}
        yield key, _resolve_target(key, node["_target_"]), arguments
    for name, value in items:
        yield from _targets(value, f"{key}.{name}" if key else str(name))


def _resolve_target(key: str, target: str) -> Any:
    """The public class or function a whitelisted ``_target_`` names."""
    module, _, name = str(target).rpartition(".")
    if not str(target).startswith(WHITELIST):
        raise ValueError(f"{key}._target_: {target!r} is not allowed; targets start with {' '.join(WHITELIST)}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise ValueError(f"{key}._target_: there is no {target!r}") from None
    public = importlib.import_module(module).__dict__.get("__all__", []) if module.startswith("lama.") else [name]
    if name not in public or getattr(found, "__module__", "").split(".")[0] != module.split(".")[0]:
        raise ValueError(f"{key}._target_: {target!r} is not a public name of {module}")
    return found


def _check_arguments(key: str, target: Any, arguments: dict[str, Any]) -> None:
    """Raise ValueError for an argument that ``target`` does not take, or of another type than it declares."""
    path = f"{key}." if key else ""
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, value in arguments.items():
        if name not in parameters and not open_ended:
            raise ValueError(f"{path}{name}: unknown key{_nearest(name, parameters)}; known: {', '.join(parameters)}")
        if name in hints and not _fits(value, hints[name]):
            raise ValueError(f"{path}{name}: expected {_in_words(hints[name])}, got {_as_typed(value)}")


def _in_words(hint: Any) -> str:
    """A type as a user of a YAML knows it."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(_in_words(option) for option in typing.get_args(hint) if not _is_tensor(option))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(_as_typed, typing.get_args(hint)))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}
    return words.get(hint) or str(hint).removeprefix("<class '").removesuffix("'>").replace("typing.", "")


def _as_typed(value: Any) -> str:
    """A value as it stands in a YAML."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value can be what a constructor declares; what is built from a mapping is not judged."""
    if isinstance(value, (dict, list)) or hint is Any:
        return True
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in (str, bool, types.NoneType) else not _is_tensor(hint)


def _is_tensor(hint: Any) -> bool:  # a learning rate may be one, but not in a YAML
    return getattr(hint, "__module__", "") == "torch"


def one_line(error: BaseException, directory: str, name: str | None, argv: list[str]) -> str:
    """What, where, expected, got and what to do, in one line."""
    text = str(error).strip()
    if isinstance(error, MissingMandatoryValue):
        key = text.split(": ")[-1].splitlines()[0]
        return f"{key}: a value is required; give it as {key}=VALUE (examples: first lines of {sys.argv[0]})"
    if isinstance(error, ConfigCompositionException) and "Could not override" in text:
        key = text.split("'")[1]
        return f"{key}: unknown config key{_nearest(key, _known_keys(directory, name, argv))}"
    if isinstance(error, MissingConfigException):
        return _no_such_config(text, directory)
    if isinstance(error, OverrideParseException):
        if not re.match(r"[+~]{0,2}[\w./@]+=", str(error.override)):
            return f"{error.override}: expected KEY=VALUE, without dashes or spaces around ="
        return f"{error.override}: cannot be read ({text.splitlines()[0]}); quote odd values twice: \"KEY='VALUE'\""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    if "DataLoader worker" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def printable(text: str) -> str:
    """Without what would move a terminal's cursor: names come from files."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _no_such_config(text: str, directory: str) -> str:
    """A configuration or an option of a group that does not exist, the nearest that does, and all that do."""
    found = re.search(r"(?:primary config '|Could not find ')([^']+)'", text)
    if found is None:
        return "; ".join(line.strip() for line in text.splitlines() if line.strip())
    group, _, name = found[1].rpartition("/")
    official = OmegaConf.load(CONFIGS / "official_names.yaml")
    ours = OmegaConf.select(official, f"{group or 'primary'}.{name.lower()}")
    known = sorted(path.stem for path in (Path(directory) / group).glob("*.yaml")) if group else _primary(directory)
    nearest = f"; that is {ours} here" if ours else _nearest(name, known)
    return f"{f'{group}={name}' if group else f'-cn {name}'}: no such configuration{nearest}; known: {', '.join(known)}"


def _primary(directory: str) -> list[str]:
    """The configurations that can be run as they are."""
    return sorted(path.stem for path in Path(directory).glob("*.yaml") if path.stem != "base")


def _nearest(name: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _known_keys(directory: str, name: str | None, argv: list[str]) -> list[str]:
    """Every key of the configuration that the command line chose, without its value overrides."""
    for flag in ("-cn", "--config-name"):
        if flag in argv[:-1]:
            name = argv[argv.index(flag) + 1]
    groups = [arg for arg in argv if "=" in arg and (Path(directory) / arg.split("=")[0]).is_dir()]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(directory, version_base="1.3"):
        config = hydra.compose(name, overrides=groups)

    def keys(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.items_ex(resolve=False):
            yield f"{prefix}{key}"
            if isinstance(value, DictConfig):
                yield from keys(value, f"{prefix}{key}.")

    return list(keys(config, ""))

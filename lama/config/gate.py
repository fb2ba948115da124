"""The one gate from YAML to objects.

A ``_target_`` outside the whitelist, a key that its constructor does not know and a value of another type are errors
that name the key. A loss term with ``weight: 0`` is not built, so it needs no weights file.
"""

import functools
import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from lama import plugins
from lama.config.folder import CONFIGS
from lama.config.wording import nearest

WHITELIST = ("lama.", "torch.optim.", "torch.utils.data.", "pytorch_lightning.")
PROGRAMS = ("lama.bench.", "lama.commands.", "lama.config.", "lama.sweeps.")  # a YAML needs no names of these rooms
NETWORKS = ("generator", "discriminator", "objective", "evaluator", "optimizers")  # of the module; the rest: recipe


def build(node: Any, key: str) -> Any:
    """Build the object of ``node``, at ``key`` of the configuration. Raises ValueError for a wrong target or value."""
    plain = _plain(node)
    for path, target, arguments in _targets(plain, key):
        _check_arguments(_typed(path, node), target, arguments)
    return _made(plain, "", key, node)


def _made(plain: Any, path: str, key: str, node: Any) -> Any:
    """The object, list or dictionary that ``plain``, at ``path`` below ``node``, describes."""
    if isinstance(plain, list):
        return [_made(one, f"{path}[{i}]", key, node) for i, one in enumerate(plain)]
    if not isinstance(plain, dict):
        return plain
    values = {
        name: _made(value, f"{path}.{name}" if path else str(name), key, node)
        for name, value in plain.items()
        if name not in ("_target_", "_partial_")
    }
    if "_target_" not in plain:
        return values
    target = resolve_target(key, plain["_target_"])
    if plain.get("_partial_"):
        return functools.partial(target, **values)
    try:
        return target(**values)
    except ValueError as error:
        if path and type(error) is ValueError:  # a constructor knows the name of its node, but not the path to it
            name = re.escape(path.rpartition(".")[2])
            error.args = (re.sub(rf"^[\w.]*\b{name}\b(?=[.:])", _typed(f"{key}.{path}", node), str(error)),)
        raise


def flag(config: DictConfig, key: str) -> bool:
    """A switch of the configuration. Raises ValueError for anything but true and false: Hydra reads ``no`` as text."""
    value = OmegaConf.select(config, key)
    if not isinstance(value, bool):
        raise ValueError(f"{key}={value}: expected true or false")
    return value


def build_module(config: DictConfig) -> Any:
    """The ``InpaintingModule`` that a primary configuration of training describes."""
    from lama.training import InpaintingModule

    options = [name for name in inspect.signature(InpaintingModule).parameters if name not in NETWORKS]
    recipe = {name: config.recipe[name] for name in options if name in config.recipe}
    _check_arguments("recipe", InpaintingModule, recipe)
    return InpaintingModule(
        generator=build(config.generator, "generator"),
        discriminator=build(config.discriminator, "discriminator"),
        objective=build(config.losses, "losses"),
        evaluator=build(config.evaluator, "evaluator"),
        optimizers=build(config.optimizers, "optimizers"),
        **recipe,
    )


def check_plan(config: DictConfig) -> None:
    """Check the data and the optimisers of a training, before a model is opened or a file fetched.

    Raises FileNotFoundError for data that does not exist, ValueError for settings that the optimisers refuse.
    """
    from lama.training import check_optimizers

    _check_paths(config)
    check_optimizers(build(config.optimizers, "optimizers"))


def preflight(config: DictConfig) -> None:
    """Call ``preflight`` of every target that has one: it fetches weights, or raises if they are missing."""
    plain = _plain(config)
    for _, target, arguments in _targets(plain, ""):
        check = getattr(target, "preflight", None)
        if check is not None:
            check(**{k: v for k, v in arguments.items() if not (isinstance(v, dict) and "_target_" in v)})


def _check_paths(config: DictConfig) -> None:
    """Raise FileNotFoundError, naming the key, for data that does not exist: a source of files, or pairs.

    Raises ValueError for a path of another form than the source takes.
    """
    source = resolve_target("data.source", config.data.source._target_)
    places = {"val_pairs": "the pairs to validate on"}
    if getattr(source, "reads_files", False):
        places |= {"path": "the images to train on", "val_path": "the images to validate on"}
    path, mixes = config.data.get("path"), getattr(source, "mixes", False)
    several = "{A: {path: FOLDER, weight: 3}, B: {path: FILE, weight: 1}}"
    if mixes and path is not None and not isinstance(path, DictConfig):
        raise ValueError(f"data.path={path}: data=mixture expects a mapping, {several}; for one folder, data=folder")
    if not mixes and isinstance(path, DictConfig if "path" not in places else (DictConfig, ListConfig)):
        raise ValueError(f'data.path={path}: several need a mapping, data=mixture "data.path={several}"')
    if isinstance(path, DictConfig):
        places |= {f"path.{name!s}.path": "images to train on" for name in path}
    for key, meaning in places.items():
        place = OmegaConf.select(config.data, key)
        braces = key.startswith("path.") and "{" in str(place)  # of shards
        if place is not None and not braces and not Path(str(place)).expanduser().exists():
            where = f"no such file or folder (working directory: {Path.cwd()})"
            raise FileNotFoundError(f"data.{key}, {meaning}: {place}: {where}")


def _typed(path: str, node: Any) -> str:
    """``path`` as a user types it: ``data.masks``, which is ``${masks}``, is set as ``masks``."""
    _, _, name = path.partition(".")
    first, dot, rest = name.partition(".")
    raw = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else {}
    source = re.fullmatch(r"\$\{(\w+)\}", str(raw.get(first))) if isinstance(raw, dict) else None
    return path if source is None else source[1] + dot + rest


def _plain(node: Any) -> Any:
    """Resolve interpolations and leave out loss terms of weight 0. Raises ValueError for a number that is no term."""
    plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node
    return _without_zero_weights(plain)


def _without_zero_weights(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_zero_weights(item) for item in node]
    if not isinstance(node, dict):
        return node
    if str(node.get("_target_", "")).startswith("lama.losses.") and node.get("weight") == 0:
        return None
    if node.get("_target_") == "lama.losses.Objective":
        node = {name: _term(name, value) if name != "_target_" else value for name, value in node.items()}
    return {name: _without_zero_weights(value) for name, value in node.items()}


def _term(name: str, value: Any) -> Any:
    """A loss term: the number 0 stands for none. Raises ValueError for another number or a text."""
    if value is None or isinstance(value, dict):
        return value
    if value == 0 and not isinstance(value, bool):
        return None
    keys = next((list(one[name]) for one in _loss_configurations() if isinstance(one.get(name), DictConfig)), [])
    own = [f"losses.{name}.{key}=" for key in keys if key not in ("_target_", "weights")]
    advice = f"its keys are {', '.join(own)}" if own else f"expected {{_target_: CLASS, weight: {value}}}"
    raise ValueError(f"losses.{name}={value}: {advice}; 0 switches a term off")


def _loss_configurations() -> Iterator[Any]:
    return (OmegaConf.load(path) for path in sorted((CONFIGS / "training" / "losses").glob("*.yaml")))


def _targets(node: Any, key: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(key, target, arguments) of every ``_target_`` below ``node``."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if isinstance(node, dict) and "_target_" in node:
        arguments = {name: value for name, value in node.items() if name not in ("_target_", "_partial_")}
        yield key, resolve_target(key, node["_target_"]), arguments
    for name, value in items:
        yield from _targets(value, f"{key}.{name}" if key else str(name))


def resolve_target(key: str, target: str) -> Any:
    """The public class or function that ``_target_`` names. Raises ValueError if it is not allowed."""
    module, _, name = str(target).rpartition(".")
    if plugins.is_used(str(target)):
        try:
            return plugins.find(str(target))
        except ValueError as error:
            raise ValueError(f"{key}._target_: {error}") from error
    if not str(target).startswith(WHITELIST) or str(target).startswith(PROGRAMS):
        raise ValueError(f"{key}._target_: {target!r} is not allowed; targets start with {' '.join(WHITELIST)}, or "
                         "with a package of your own that plugins=[PACKAGE] names")  # fmt: skip
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{key}._target_: {target!r} cannot be imported ({error}); a new name is imported in the __init__.py of "
            f"{module} and listed in its __all__"
        ) from None
    public = importlib.import_module(module).__dict__.get("__all__", []) if module.startswith("lama.") else [name]
    if name not in public or getattr(found, "__module__", "").split(".")[0] != module.split(".")[0]:
        raise ValueError(f"{key}._target_: {target!r} is not in the __all__ of {module}")
    return found


def _check_arguments(key: str, target: Any, arguments: dict[str, Any]) -> None:
    """Raise ValueError for an argument that ``target`` does not take, and for a value of another type than declared."""
    path = f"{key}." if key else ""
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, value in arguments.items():
        if name not in parameters and not open_ended:
            raise ValueError(f"{path}{name}: unknown key{nearest(name, parameters)}; known: {', '.join(parameters)}")
        if name in hints and not _fits(value, hints[name]):
            raise ValueError(f"{path}{name}: expected {_in_words(hints[name])}, got {_as_typed(value)}")


def _in_words(hint: Any) -> str:
    """A type in the words of a YAML."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(_in_words(option) for option in typing.get_args(hint) if not _is_tensor(option))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(_as_typed, typing.get_args(hint)))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}
    return words.get(hint) or str(hint).removeprefix("<class '").removesuffix("'>").replace("typing.", "")


def _as_typed(value: Any) -> str:
    """A value in the spelling of a YAML."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _fits(value: Any, hint: Any) -> bool:
    """True if ``value`` has the declared type ``hint``. Mappings and lists always fit: they may describe objects."""
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

"""Packages of a user, imported because the user named them: ``plugins=[my_project]``.

Nothing else imports them: a file of a model or of a run names classes, and never has a package imported.
"""

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_used: dict[str, ModuleType] = {}


class NotUsedError(ValueError):
    """A name of a package that the user has not named."""


def use(names: Sequence[str]) -> list[ModuleType]:
    """Import packages, each once; a package may lie in the current folder without being installed.

    Raises ValueError, in one line, for a package that is not found or cannot be imported.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ValueError(f"plugins={names}: expected a list of packages, such as [my_project]")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last: an installed package goes first
    for name in names:
        if name == "lama" or name in sys.stdlib_module_names:
            raise ValueError(f"plugins: {name} is no package of your own")
        _used[name] = _imported(name)
    return [_used[name] for name in names]


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a user's code may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            advice = f"not installed, and no folder {name} in {Path.cwd()}; pip install -e FOLDER, or start beside it"
            raise ValueError(f"plugins: {name}: {advice}") from error
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}:{last.lineno}"
        raise ValueError(f"plugins: {name} cannot be imported: {type(error).__name__}: {error} ({place})") from error


def could_be(name: str) -> bool:
    """True if ``name`` could belong to a package of a user: it has a dot, and is of neither lama nor Python itself."""
    package, dot, _ = name.partition(".")
    return bool(dot) and package != "lama" and package not in sys.stdlib_module_names


def is_used(name: str) -> bool:
    """True if ``name``, such as ``my_project.losses.EdgeLoss``, belongs to a package that is used."""
    return name.partition(".")[0] in _used


def used() -> dict[str, Path]:
    """The packages that are used, and the folder of each, or the file of one that is a single file."""
    files = {name: Path(package.__file__).resolve() for name, package in _used.items() if package.__file__}
    return {name: file.parent if file.name == "__init__.py" else file for name, file in files.items()}


def full_name(kind: type) -> str:
    """The name by which a file of weights calls a class: short for ours, with its module for others."""
    return kind.__name__ if kind.__module__.startswith("lama.") else f"{kind.__module__}.{kind.__qualname__}"


def find(name: str) -> Any:
    """The class or function ``name``. Raises NotUsedError if its package is not used, ValueError if it has none."""
    package = name.partition(".")[0]
    if not is_used(name):
        raise NotUsedError(f"{name} is code of another package, and files import nothing; if you trust {package}, "
                           f"add plugins=[{package}]")  # fmt: skip
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name}: {package} has no such name ({error})") from error
    if getattr(found, "__module__", "").partition(".")[0] != package:
        raise ValueError(f"{name}: defined outside {package}")
    return found

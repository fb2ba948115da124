"""Writes the template of ``lama/project/template`` under a name of the user's choice."""

import keyword
import sys
from importlib.resources import as_file, files
from pathlib import Path

from lama.files import write_text

NAME = "PROJECT"  # in the texts and file names of the template


def new_project(where: str | Path) -> list[Path]:
    """Write a package with a loss, a mask, a metric, a generator, their YAMLs and tests; returns its files.

    ``where`` ends in the name of the package. Raises ValueError for a name that Python cannot import or has already,
    FileExistsError for a folder that holds something.
    """
    folder = Path(where).expanduser()
    name = folder.name
    if not name.isidentifier() or keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "lama":
        raise ValueError(f"{name}: cannot be the name of a package; expected one such as my_project")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: holds something; choose another name, or remove it")
    written = []
    with as_file(files("lama.project").joinpath("template")) as template:
        for source in sorted(path for path in template.rglob("*.txt") if path.is_file()):
            relative = str(source.relative_to(template).with_suffix("")).replace(NAME, name)
            write_text(folder / relative, source.read_text(encoding="utf-8").replace(NAME, name))
            written.append(folder / relative)
    return written

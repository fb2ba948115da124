"""The manifest of an evaluation set: seed, settings and the sha256 of every file. It identifies the set."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lama.files import sha256_of, write_text
from lama.pictures.images import files_below

NAME = "manifest.json"
JOURNAL = ".journal.jsonl"  # marks an unfinished set; one line for every finished image
FORMAT = "lama-evaluation-set-1"


class Manifest:
    """The ``manifest.json`` of an evaluation set. Raises ValueError if the file is damaged or no such manifest."""

    def __init__(self, file: Path) -> None:
        self.root = file.parent
        try:
            self.content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            self.files: dict[str, str] = self.content["files"]
            self.hash: str = self.content["hash"]
            intact = self.hash == digest(self.files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}: not the manifest of an evaluation set, or a damaged one") from error
        if not intact:
            raise ValueError(f"{file}: changed since it was written: its hash does not match its list of files")

    @classmethod
    def below(cls, folder: Path) -> "list[Manifest]":
        """Every manifest in ``folder`` and the folders below it."""
        return [cls(file) for file in files_below(folder) if file.name == NAME and _is_ours(file)]

    @classmethod
    def of(cls, folder: Path) -> "Manifest | None":
        """The manifest of ``folder`` itself; None if it has none."""
        file = folder / NAME
        return cls(file) if file.is_file() and _is_ours(file) else None

    def check_names(self, paths: Iterable[Path]) -> None:
        """Raise ValueError unless the ``paths`` in its folder are exactly the files of the set."""
        names = [path.relative_to(self.root).as_posix() for path in paths if path.is_relative_to(self.root)]
        missing, extra = sorted(self.files.keys() - set(names)), sorted(set(names) - self.files.keys())
        if missing or extra:
            less = f"{len(missing)} files are missing, first {missing[0]}" if missing else ""
            more = f"{len(extra)} do not belong to it, first {extra[0]}" if extra else ""
            changes = "; ".join(filter(None, (less, more)))
            raise ValueError(f"{self.root}: not the evaluation set of its {NAME}: {changes}; generate it again")

    def damaged(self) -> list[str]:
        """Names of the files that are missing or have another sha256."""
        paths = {self.root / name: digest for name, digest in self.files.items()}
        intact = (path for path, digest in paths.items() if path.is_file() and sha256_of(path) == digest)
        return sorted(path.relative_to(self.root).as_posix() for path in paths.keys() - set(intact))

    def check_file(self, path: Path) -> None:
        """Raise ValueError if ``path`` lies in its folder and has changed."""
        if not path.is_relative_to(self.root):
            return
        name = path.relative_to(self.root).as_posix()
        if sha256_of(path) != self.files.get(name):
            raise ValueError(f"{path}: changed since the evaluation set was made: {NAME} has another sha256")


def write_manifest(folder: Path, settings: dict[str, Any], files: dict[str, str], refused: dict[str, str]) -> str:
    """Write the manifest of a finished set; returns the hash that identifies it."""
    name = digest(files)
    lists = {"files": dict(sorted(files.items())), "refused": dict(sorted(refused.items()))}
    content = {"format": FORMAT, "hash": name, "settings": settings, **lists}
    write_text(folder / NAME, json.dumps(content, indent=1) + "\n")
    return name


def digest(files: dict[str, str]) -> str:
    """The hash that identifies a set of files, {name: sha256}."""
    return hashlib.sha256(json.dumps(dict(sorted(files.items()))).encode()).hexdigest()


def _is_ours(file: Path) -> bool:
    """False for a file of that name from another program."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return True
    return not (isinstance(content, dict) and content and content.keys().isdisjoint({"files", "hash", "format"}))

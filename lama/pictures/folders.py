"""The entries of folders, each folder read once: a look at every file of millions would take minutes."""

import os
from pathlib import Path


class Folders:
    """Answers about files from the lists of their folders, as they were when a folder was first asked about."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}
        self._names: dict[str, set[str]] = {}
        self._links: dict[str, set[str]] = {}
        self._folders: dict[str, set[str]] = {}

    def real(self, path: Path) -> str:
        """The path without links, as ``Path.resolve`` gives it."""
        folder, name = self._read(path)
        if name in self._links[folder]:
            return os.path.realpath(path)
        return os.path.join(self._real[folder], name)

    def exists(self, path: Path) -> bool:
        folder, name = self._read(path)
        return name in self._names[folder] and (name not in self._links[folder] or path.exists())

    def is_folder(self, path: Path) -> bool:
        folder, name = self._read(path)
        return name in self._folders[folder]

    def _read(self, path: Path) -> tuple[str, str]:
        """The folder of ``path``, which is listed now, and its name."""
        folder, name = os.path.split(path)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
            self._names[folder], self._links[folder], self._folders[folder] = set(), set(), set()
            try:
                with os.scandir(folder or ".") as found:
                    for entry in found:
                        self._names[folder].add(entry.name)
                        if entry.is_symlink():
                            self._links[folder].add(entry.name)
                        if entry.is_dir():
                            self._folders[folder].add(entry.name)
            except OSError:  # there is no such folder yet
                pass
        return folder, name

"""The table of released files, ``lama/weights/released.yaml``, as objects."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SMALL = Path(__file__).resolve().parent.parent / "weights" / "lama-small.safetensors"  # a part of this package
TABLE = Path(__file__).resolve().parent.parent / "weights" / "released.yaml"
_HUGGING_FACE = "https://huggingface.co/"


@dataclass(frozen=True)
class ReleasedFile:
    """A file that somebody has released. ``filename`` is its path below the cache folder."""

    filename: str
    mirrors: tuple[str, ...]  # addresses, in the order in which they are tried
    sha256: str = ""  # of the whole file; "" = not known
    size: int | None = None  # bytes; None = not known
    without: str = ""  # the setting that does not need the file
    format: str = ""
    sources: int = 0  # public texts that state the sha256
    pages: tuple[str, ...] = ()  # where a person finds the file when no mirror answers

    @property
    def url(self) -> str:
        """The first address."""
        return self.mirrors[0]

    def addresses(self) -> list[str]:
        """The mirrors, with ``$HF_ENDPOINT`` in place of huggingface.co. Raises ValueError if that is no address."""
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") + "/"
        if endpoint != "/" and "://" not in endpoint:
            raise ValueError(f"HF_ENDPOINT={endpoint[:-1]}: expected an address such as https://huggingface.co")
        if endpoint == "/":
            return list(self.mirrors)
        return [url.replace(_HUGGING_FACE, endpoint, 1) for url in self.mirrors]

    def check(self) -> str:
        """Size and sha256 in words."""
        size = f"{self.size} bytes, " if self.size else ""
        return f"{size}sha256 {self.sha256 or 'not published'}"


@dataclass(frozen=True)
class ReleasedNetwork:
    """A network of LaMa under its name, in one or more files; the first that can be had is taken."""

    name: str
    files: tuple[ReleasedFile, ...]
    trained_on: str
    licence: str


def _file(row: Mapping[str, Any]) -> ReleasedFile:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key != "file"
    }
    return ReleasedFile(row["file"], **values)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C ten times as fast
_ROWS = yaml.load(TABLE.read_text(encoding="utf-8"), _LOADER)
CITATION: str = _ROWS["citation"]
NETWORKS: dict[str, ReleasedNetwork] = {
    name: ReleasedNetwork(name, tuple(map(_file, row["files"])), row["trained_on"], row["licence"])
    for name, row in _ROWS["networks"].items()
}
WEIGHT_FILES: dict[str, ReleasedFile] = {name: _file(row) for name, row in _ROWS["encoders"].items()}
NOT_READ: list[dict[str, Any]] = _ROWS["not_read"]

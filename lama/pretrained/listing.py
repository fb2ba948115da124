"""What ``lama weights`` prints."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lama.files import sha256_of
from lama.pretrained.encoders import require
from lama.pretrained.networks import here, nearest_names, released
from lama.pretrained.places import cache_dir, copies, find_copy, folders, noted_sha256
from lama.pretrained.table import CITATION, NETWORKS, SMALL, WEIGHT_FILES, ReleasedFile

PACKAGED = "small"  # not fetched: it comes with this package


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError for an unknown name, with the nearest known ones."""
    for name in names:
        if name not in (PACKAGED, *NETWORKS, *WEIGHT_FILES):
            near = nearest_names(name, (PACKAGED, *WEIGHT_FILES))
            advice = f"; do you mean {' or '.join(near)}?" if near else ""
            known = ", ".join([PACKAGED, *NETWORKS, *WEIGHT_FILES])
            raise ValueError(f"{name}: unknown name{advice}; known: {known}")


def get(name: str) -> Path:
    """The file of a network, or of a loss or metric; fetched if it is not here. Raises as ``released``, ``require``."""
    if name == PACKAGED:
        return SMALL
    return released(name) if name in NETWORKS else require(name)


def table(names: Sequence[str] = ()) -> list[str]:
    """A line for each network: name, size, where it lies on this machine, training data."""
    rows = [("name", "size", "here", "trained on")]
    if PACKAGED in (names or [PACKAGED]):
        where_from = "594 photographs; for non-commercial research"
        rows.append((PACKAGED, _megabytes(SMALL.stat().st_size), f"{SMALL} (in this package)", where_from))
    for name in _chosen(NETWORKS, names):
        found = here(name)
        size = found[1].stat().st_size if found else NETWORKS[name].files[0].size
        rows.append((name, _megabytes(size), f"{found[1]} ({found[0]})" if found else "-", NETWORKS[name].trained_on))
    for name in _chosen(WEIGHT_FILES, names):
        copy = find_copy(WEIGHT_FILES[name])
        size = WEIGHT_FILES[name].size
        rows.append((name, _megabytes(size), f"{copy[1]} ({copy[0]})" if copy else "-", "for losses and metrics"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    licences = dict.fromkeys(NETWORKS[name].licence for name in _chosen(NETWORKS, names))
    return [*lines, "", *(f"licence as stated: {text}" for text in licences), f"cite: {CITATION}"]


def _chosen(known: Iterable[str], names: Sequence[str]) -> list[str]:
    """The ``known`` names that were asked for; all if none were."""
    return [name for name in known if name in names or not names]


def where() -> list[str]:
    """A line for each folder that is searched, and for each partial file."""
    lines = [f"{cache_dir()}: files are fetched to here (LAMA_WEIGHTS changes it)"]
    lines += [f"{folder}: {origin}{'' if folder.is_dir() else ', not there'}" for origin, folder, _ in folders()[1:]]
    parts = (path for path in sorted((cache_dir() / "partial").glob("*")) if path.suffix != ".lock")
    return lines + [f"{path}: {path.stat().st_size} bytes, the next fetch goes on from there" for path in parts]


def verify(names: Sequence[str] = ()) -> tuple[list[str], bool]:
    """(a line for each file on this machine, True if one is not what its name says)."""
    specs = [spec for name in _chosen(NETWORKS, names) for spec in NETWORKS[name].files]
    specs += [WEIGHT_FILES[name] for name in _chosen(WEIGHT_FILES, names)]
    lines = [f"{SMALL}: sha256 {sha256_of(SMALL)} (in this package)"] if PACKAGED in (names or [PACKAGED]) else []
    lines += [line for spec in specs for line in _verify(spec)]
    return lines or ["no released file on this machine"], any(": DAMAGED" in line for line in lines)


def _verify(spec: ReleasedFile) -> Iterator[str]:
    own = cache_dir() / spec.filename
    noted = noted_sha256(own)
    expected = spec.sha256 or (noted.read_text(encoding="utf-8").strip() if noted.is_file() else "")
    if own.is_file() and expected and sha256_of(own) != expected:
        yield f"{own}: DAMAGED or another file: sha256 {sha256_of(own)}, expected {expected}; remove it"
    said = {0: "announced by the server when it was fetched", 1: "known from one source only"}
    told = said.get(spec.sources, f"stated by {spec.sources} sources")
    for origin, file in copies(spec) if spec.sha256 else [("lama", own)] if find_copy(spec) else []:
        yield f"{file}: sha256 {sha256_of(file)}, {told if expected else 'known from nowhere'} ({origin})"


def _megabytes(size: int | None) -> str:
    return f"{size / 1e6:.0f} MB" if size else "?"

"""Files on this machine that look like a released file by name or size, but are not: failed downloads, mostly."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from lama.pretrained.places import MOST_FILES, cache_dir, folders
from lama.pretrained.table import ReleasedFile


def failed_download(path: Path) -> str:
    """The nature of a file that a failed download leaves: empty, a web page or a pointer of Git LFS; else ""."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "an empty file"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself"
    return "a web page" if is_web_page(head) else ""


def is_web_page(head: bytes) -> bool:
    """Whether a file with these first bytes is HTML."""
    return re.match(rb"\s*<(!doctype|html)", head, re.IGNORECASE) is not None


def misfits(specs: Sequence[ReleasedFile]) -> str:
    """Words for a message: each such file with the reason, after a semicolon; empty if there is none.

    It is for released files that were not found by their content, so a file of the right size has another sha256.
    """
    sizes = sorted({spec.size for spec in specs if spec.size})
    text = ""
    for file in dict.fromkeys(_candidates(specs, sizes)):
        size = file.stat().st_size
        other = f"{size} bytes, expected {' or '.join(map(str, sizes))}" if sizes and size not in sizes else ""
        text += f"; {file} is {failed_download(file) or other or 'another file by its sha256'}"
    return text


def _candidates(specs: Sequence[ReleasedFile], sizes: Sequence[int]) -> Iterator[Path]:
    names = tuple(f"/{spec.filename}" for spec in specs)
    for origin, folder, pattern in folders():
        for file in islice(folder.glob(pattern), MOST_FILES):
            if file.parent == cache_dir() / "partial" or not file.is_file():
                continue
            if file.as_posix().endswith(names) or (origin == "lama" and file.stat().st_size in sizes):
                yield file

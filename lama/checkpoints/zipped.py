"""An official model folder that is still a zip archive, as it is downloaded: read without unpacking it by hand."""

import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO


def member_of(file: Path) -> zipfile.Path | None:
    """The checkpoint inside a zipped model folder; None for a checkpoint itself, and for any other file.

    Raises ValueError if the archive holds several, or one that can only be read as a file of its own.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return None
    if any(re.fullmatch(r"([^/]+/)?data\.pkl", name) for name in names):
        return None
    found = [name for name in names if re.fullmatch(r"(?!__MACOSX).*\.(ckpt|pth|safetensors)", name)]
    best = [name for name in found if Path(name).name in ("best.ckpt", "best.safetensors")] or found
    if len(best) > 1:
        shown = ", ".join(sorted(best)[:5])
        raise ValueError(f"{file}: a zip archive with {len(best)} models ({shown}); unpack it and give one folder")
    if best and best[0].endswith(".safetensors"):
        raise ValueError(f"{file}: a zip archive with {best[0]}; unpack it and give that file")
    return zipfile.Path(file, best[0]) if best else None


def unpacked(member: zipfile.Path) -> IO[bytes]:
    """The content of ``member`` in a temporary file without a name, which disappears with the object ($TMPDIR)."""
    copy: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
    with member.open("rb") as source:
        shutil.copyfileobj(source, copy, 1 << 20)  # checks the CRC at the end
    copy.seek(0)
    return copy

"""Which code computed a number, and where: the commit, its state, the versions and the machine."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import lama

CLONE = Path(lama.__file__).resolve().parents[1]


def commit(folder: Path = CLONE) -> dict[str, Any] | None:
    """{"hash", "clean"} of the git repository in ``folder``; None where it is none, or git is missing.

    "clean" is False where a file that git tracks has been changed since the commit.
    """
    if not (folder / ".git").exists():  # an installed wheel may lie inside another project's repository
        return None
    try:
        found, changes = (
            subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=True
            ).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"hash": found.strip(), "clean": not changes.strip()}


def packages(places: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """{"path", "sha256", "commit"} of each package, by its name; ``places`` holds its folder, or its only file.

    "sha256" is of the names and contents of its .py files; "commit" as ``commit``, of the repository that it lies in.
    """
    found = {}
    for name, place in places.items():
        digest = hashlib.sha256()
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(place.parent).as_posix()} {content}\n".encode())
        installed = "site-packages" in place.parts  # perhaps in an environment inside another repository
        clone = None if installed else next((one for one in place.parents if (one / ".git").exists()), None)
        head = None if clone is None else commit(clone)
        found[name] = {"path": str(place), "sha256": digest.hexdigest(), "commit": head}
    return found


def environment() -> dict[str, Any]:
    """Python, torch, the operating system, the processor or GPU, and the number of threads."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",  # instructions decide rounding
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
    }

"""Where released files may lie already: our cache, and the caches of other programs. They are used where they are."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lama.files import sha256_of
from lama.pretrained.table import ReleasedFile

MOST_FILES = 20_000  # looked at in one folder


def cache_dir() -> Path:
    """``$LAMA_WEIGHTS``, or ``lama`` in ``$XDG_CACHE_HOME``, which is ``~/.cache`` if not set."""
    return Path(os.environ.get("LAMA_WEIGHTS") or _user_cache() / "lama").expanduser()


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()


def folders() -> list[tuple[str, Path, str]]:
    """(origin, folder, pattern of its files) of our cache and of the programs that fetch the same files.

    IOPaint, simple-lama, pytorch-fid and torch-fidelity use torch hub's folder. Hugging Face names a file
    by its sha256.
    """
    env, home = os.environ, Path.home()
    xdg = _user_cache()
    torch_home = Path(env.get("TORCH_HOME") or xdg / "torch").expanduser()
    hugging_face = Path(env.get("HF_HUB_CACHE") or Path(env.get("HF_HOME") or xdg / "huggingface") / "hub").expanduser()
    comfy = [Path(env["COMFYUI_PATH"])] if env.get("COMFYUI_PATH") else []
    comfy += [Path.cwd() / "ComfyUI", home / "ComfyUI", home / "Documents" / "ComfyUI"]
    found = [
        ("lama", cache_dir(), "**/*"),
        ("torch hub", torch_home / "hub" / "checkpoints", "*"),
        ("TORCH_HOME, as the official code", torch_home / "ade20k", "*/*"),
        ("Hugging Face hub", hugging_face, "models--*/blobs/*"),
    ]
    found += [("ComfyUI", folder / "models" / part, "**/*") for folder in comfy for part in ("lama", "inpaint")]
    return found


def copies(spec: ReleasedFile) -> Iterator[tuple[str, Path]]:
    """(origin, file) of every file on this machine with the content of ``spec``: the size first, then the sha256.

    Where the size is not known, only files of that name are read, and those that Hugging Face names by the sha256.
    """
    name = Path(spec.filename).name
    for origin, folder, pattern in folders():
        for file in islice(folder.glob(pattern), MOST_FILES):
            if file.parent == cache_dir() / "partial":
                continue
            if spec.size is None and file.name not in (name, spec.sha256):
                continue
            if spec.sha256 and _is(file, spec):
                yield origin, file


def _is(file: Path, spec: ReleasedFile) -> bool:
    try:
        if not file.is_file() or (spec.size and file.stat().st_size != spec.size):
            return False
        return sha256_of(file) == spec.sha256
    except OSError:  # a file of somebody else
        return False


def noted_sha256(file: Path) -> Path:
    """The file with the sha256 that a server announced for ``file``, where the table knows none."""
    return file.with_name(file.name + ".sha256")


def find_copy(spec: ReleasedFile) -> tuple[str, Path] | None:
    """(origin, file) of a file with the content of ``spec``: the one at its place in our cache, else any.

    Without a sha256 in the table, the file at its place counts, if it has the sha256 that was noted when it was
    fetched, or if none was noted.
    """
    own = cache_dir() / spec.filename
    if not spec.sha256:
        if not own.is_file():
            return None
        noted = noted_sha256(own)
        whole = not noted.is_file() or noted.read_text(encoding="utf-8").strip() == sha256_of(own)
        return ("lama", own) if whole else None
    return ("lama", own) if _is(own, spec) else next(copies(spec), None)

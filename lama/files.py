"""Write files atomically, and keep going when the disk is full."""

import errno
import functools
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

PARTIAL = ".partial-"  # temporary files of ``atomic_write`` begin with it
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_UMASK = os.umask(0)  # can only be read by setting it
os.umask(_UMASK)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it to ``path`` when the block succeeds, else remove it.

    Missing parent folders are made. The temporary path has the suffix of ``path``, since writers of images choose the
    format by it, and no two writers share one. Raises OSError, naming ``path``, where it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix=path.suffix)
        os.close(handle)
        partial = Path(name)
        yield partial
        os.chmod(partial, 0o666 & ~_UMASK)  # temporary files and files of safetensors are for their owner only
        partial.replace(path)
    except OSError as error:
        # The error of a full disk names no file, or the temporary one.
        if (error.filename is None and error.errno is not None) or PARTIAL in str(error.filename):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        if partial is not None:
            with suppress(OSError):  # the first error counts; ``remove_partial`` tries again
                partial.unlink(missing_ok=True)


def check_writable(folder: Path, key: str = "", given: Path | None = None) -> None:
    """Raise NotADirectoryError or PermissionError if ``folder``, which may not exist yet, cannot be written to.

    Commands call it before they compute. It tries: root has every permission, also where the system refuses to write.
    The message begins with the configuration's ``key``, if there is one, and its value ``given``: ``folder`` for None.
    """
    where = f"{key}={given or folder}: " if key else ""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{where}{nearest}: is a file, expected a folder to write to")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PermissionError(f"{where}{nearest}: cannot be written to ({reason})") from error


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty if the file is missing, damaged or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` atomically, in UTF-8."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def synced(path: Path) -> None:
    """Flush a file or, after a rename, a folder to the disk: it survives a loss of power."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EACCES):  # unsupported by the file system
            raise
    finally:
        os.close(handle)


def remove_partial(*folders: Path) -> None:
    """Remove the temporary files that ``atomic_write`` left in ``folders``: of a killed process, or where the disk
    refused to remove them."""
    for path in (path for folder in folders for path in folder.glob(f"{PARTIAL}*")):
        if path.is_file():
            path.unlink(missing_ok=True)


def failed_disk(error: BaseException) -> OSError | None:
    """The error about a disk that caused ``error``: full, read-only or failing, a quota; None if there is none."""
    return next((cause for cause in causes(error) if isinstance(cause, OSError) and cause.errno in DISK_ERRORS), None)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on, each once: an error that is raised again may be its own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def sha256_of(file: Path) -> str:
    """The sha256 of a file's content, in hexadecimal. It is computed again only when the file has changed."""
    status = file.stat()
    return _sha256(file, status.st_mtime_ns, status.st_size)


@functools.cache
def _sha256(file: Path, changed: int, size: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def survives_a_full_disk(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a method that writes ``what``: where the disk is full or fails it logs an error and returns.

    ``self.lost`` is {what: reason} of the files that the latest calls could not write.
    """

    def decorate(write: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(write)
        def wrapped(self: Any, *arguments: Any, **keywords: Any) -> None:
            lost = vars(self).setdefault("lost", {})
            try:
                write(self, *arguments, **keywords)
                lost.pop(what, None)
            except Exception as error:  # torch raises RuntimeError because of Python's OSError, Lightning ValueError
                reason = failed_disk(error)
                if reason is None:
                    raise
                lost[what] = str(reason.strerror).lower()
                where = f" ({reason.filename})" if reason.filename else ""
                logger.error("%s%s: not written, %s; training continues", what, where, lost[what])

        return wrapped

    return decorate

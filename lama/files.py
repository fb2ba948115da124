"""Files appear whole or not at all."""

import errno
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UMASK = os.umask(0)  # can only be read by setting it
os.umask(_UMASK)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; rename it when the block ends well, remove it otherwise.

    Missing parent folders are made. The suffix is kept, since writers of images go by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        partial.touch()  # where nothing can be written, say so in Python's words
        yield partial
        os.chmod(partial, 0o666 & ~_UMASK)  # safetensors makes files that nobody else may read
        partial.replace(path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a full disk does not say which file it was
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def synced(path: Path) -> None:
    """Have the system write a file or, after a renaming, a folder to the disk itself: it survives a loss of power."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EACCES):  # a file system that cannot
            raise
    finally:
        os.close(handle)


def remove_partial(folder: Path) -> None:
    """Remove what ``atomic_write`` had begun in ``folder`` when its process was killed."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+(\.\w+)?", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def no_space(error: BaseException) -> OSError | None:
    """The full, exhausted or read-only disk behind ``error``, or None where it is about something else."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def sha256_of(file: Path) -> str:
    """The sha256 of a file's content, in hexadecimal. It is computed again only when the file has changed."""
    status = file.stat()
    return _sha256(file, status.st_mtime_ns, status.st_size)


@functools.cache
def _sha256(file: Path, changed: int, size: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

"""Files appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UMASK = os.umask(0)  # can only be read by setting it
os.umask(_UMASK)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; rename it when the block ends well, remove it otherwise.

    Missing parent folders are made. The suffix is kept, since writers of pictures go by it.
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

"""Error messages of one line: the key, its place, the expected and the given value, the remedy."""

import difflib
import sys
from collections.abc import Iterable

from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

_USER_ERRORS = (  # OSError only for paths: a full disk or a broken pipe is not a mistake in a command
    ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError,
    OmegaConfBaseException,
)  # fmt: skip


def is_user_error(error: BaseException) -> bool:
    """Whether ``error`` is a mistake in a command, which one line explains, and not a fault of the program."""
    hydra = sys.modules.get("hydra.errors")  # an error of Hydra is impossible before it is imported
    return isinstance(error, (*_USER_ERRORS, *([] if hydra is None else [hydra.HydraException])))


def one_line(error: BaseException) -> str:
    """The message of ``error`` as one line."""
    text = str(error).strip()
    if isinstance(error, MissingMandatoryValue):
        key = text.split(": ")[-1].splitlines()[0]
        return f"{key}: a value is required; set {key}=VALUE (--help shows examples)"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    if "DataLoader worker" in text:  # its traceback comes before the message
        text = text.splitlines()[-1].partition(": ")[2]
    return joined(text)


def joined(text: str) -> str:
    """The lines of ``text`` that are not empty, as one."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def printable(text: str) -> str:
    """``text`` with control characters escaped: it may hold file names, which could move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?``, or nothing if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""

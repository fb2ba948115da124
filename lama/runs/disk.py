"""A full disk costs what could not be written, not the training."""

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from lama.files import no_space

logger = logging.getLogger(__name__)


def survives_a_full_disk(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a method that writes ``what``: where no space is left it says so and goes on; other errors are raised."""

    def decorate(write: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(write)
        def wrapped(self: Any, *arguments: Any, **keywords: Any) -> None:
            lost = vars(self).setdefault("lost", {})
            try:
                write(self, *arguments, **keywords)
                lost.pop(what, None)
            except (OSError, RuntimeError) as error:  # torch makes its own of those that Python raises
                reason = no_space(error)
                if reason is None:
                    raise
                lost[what] = str(reason.strerror).lower()
                where = f" ({reason.filename})" if reason.filename else ""
                logger.error("%s%s: not written, %s; training goes on", what, where, lost[what])

        return wrapped

    return decorate


def still_lost(writers: Iterable[object]) -> dict[str, str]:
    """What their methods could not write when they tried last, and why."""
    return {what: why for writer in writers for what, why in getattr(writer, "lost", {}).items()}

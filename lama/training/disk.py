"""A full disk costs what could not be written, not the training."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from lama.files import no_space

logger = logging.getLogger(__name__)


def survives_a_full_disk(write: Callable[..., None]) -> Callable[..., None]:
    """``write``, which says so and goes on where there is no space left; every other error is raised."""

    @functools.wraps(write)
    def wrapped(*arguments: Any, **keywords: Any) -> None:
        try:
            write(*arguments, **keywords)
        except (OSError, RuntimeError) as error:  # torch makes its own of those that Python raises
            reason = no_space(error)
            if reason is None:
                raise
            what = reason.filename or write.__qualname__
            logger.error("%s: not written, %s; training goes on", what, str(reason.strerror).lower())

    return wrapped

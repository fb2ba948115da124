"""The file ``train.log``. A disk that is full or fails costs lines of it, never the training."""

import logging
import sys
from contextlib import suppress

from lama.files import failed_disk


class LogFile(logging.FileHandler):
    """Lines that the disk refuses are lost without a word: the terminal shows them too."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exception()
        if error is None or failed_disk(error) is None:
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):  # of the last lines, which are written now if they could not be before
            super().close()

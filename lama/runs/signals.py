"""Signals ask a training to stop: after the batch in flight, with a checkpoint, so that the same command goes on.

SIGTERM, SIGUSR1 and SIGUSR2 come from schedulers (SLURM's --signal, submitit, Kubernetes, spot machines); the exit code
is 75, EX_TEMPFAIL of sysexits.h: a failure for which trying again helps. Ctrl-C exits with 130, a second one at once.
"""

import logging
import signal
import threading
from types import FrameType

from lama.interfaces import STOP_SIGNALS

logger = logging.getLogger(__name__)

TRY_AGAIN = 75
INTERRUPTED = 130


class Stopped(SystemExit):
    """Ends the process; ``code`` says why."""


class TryAgainError(ValueError):
    """What went wrong was no mistake in the command: it goes on when it is given again."""

    exit_code = TRY_AGAIN


class StopRequest:
    """Notes that one of the signals has come."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def install(self) -> None:
        """Take the signals over, Lightning's own handlers included: those would requeue a SLURM job by themselves.

        Lightning puts back what was there before it when a training ends.
        """
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise Stopped(INTERRUPTED)
        self.signal = number
        again = ", again to stop at once" if number == signal.SIGINT else ""
        logger.warning("%s: stops after this batch, with a checkpoint%s", signal.Signals(number).name, again)

    def stopped(self, number: int, iteration: int, first: bool) -> Stopped:
        """What to raise when the checkpoint is written; ``number`` is the signal that one of the processes has got.

        The exit code is that of the ``first`` process. What starts several takes another's for a crash of that one, and
        kills the rest before they have ended.
        """
        name = signal.Signals(number).name
        logger.warning("stopped by %s after iteration %d; the same command goes on from there", name, iteration)
        return Stopped((INTERRUPTED if number == signal.SIGINT else TRY_AGAIN) if first else 0)


def stop_signals() -> list[int]:
    """Those that this system has: Windows lacks SIGUSR1 and SIGUSR2."""
    return [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]

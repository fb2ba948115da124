"""On a signal, a training stops after the current batch and writes a checkpoint; the same command resumes it.

SIGTERM, SIGUSR1 and SIGUSR2 come from schedulers (SLURM's --signal, submitit, Kubernetes, spot machines). The exit code
is then 75, EX_TEMPFAIL of sysexits.h: a temporary failure, try again. Ctrl-C exits with 130; a second one does so at
once.
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
    """Ends the process with an exit code, 75 or 130."""


class TryAgainError(ValueError):
    """A transient failure: rerunning the same command resumes."""

    exit_code = TRY_AGAIN


class StopRequest:
    """Remembers the signal that has asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def install(self) -> None:
        """Replace the handlers of all stop signals, also Lightning's, which would requeue a SLURM job.

        Lightning restores the earlier handlers when a training ends.
        """
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise Stopped(INTERRUPTED)
        self.signal = number
        again = ", again to stop at once" if number == signal.SIGINT else ""
        logger.warning("%s: stopping after this batch, with a checkpoint%s", signal.Signals(number).name, again)

    def stopped(self, number: int, iteration: int, first: bool) -> Stopped:
        """The exception to raise after the checkpoint; ``number`` is the signal that a rank has received.

        Only the ``first`` rank has the exit code. Launchers take one of another rank for a crash, and kill the rest.
        """
        name = signal.Signals(number).name
        logger.warning("stopped by %s after iteration %d; the same command continues from there", name, iteration)
        return Stopped((INTERRUPTED if number == signal.SIGINT else TRY_AGAIN) if first else 0)


def stop_signals() -> list[int]:
    """The stop signals of this system; Windows lacks SIGUSR1 and SIGUSR2."""
    return [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]

"""Fill many images one after the other; a failure does not stop the rest."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors that all further images would meet too


class Job(Protocol):
    """Reads an image and its mask, fills the hole by calling ``fill``, writes the result."""

    @property
    def name(self) -> str: ...

    def __call__(self, fill: Callable[..., Any], /) -> None: ...


@dataclass
class Outcome:
    """The result of a run over many images."""

    done: int = 0
    failures: list[str] = field(default_factory=list)  # one line for each image
    stopped: str = ""  # why the run ended early: full disk or Ctrl-C; empty if it did not
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 on success, 130 after Ctrl-C (the convention of shells), 1 after failures."""
        return 130 if self.interrupted else int(bool(self.failures or self.stopped))


def fill_all(fill: Callable[..., Any], jobs: Sequence[Job]) -> Outcome:
    """Run every job with a progress bar. ``fill`` is an ``Inpainter`` or a callable with its signature."""
    outcome = Outcome()
    with logging_redirect_tqdm(), tqdm(jobs, desc="inpainting", unit="image") as bar:
        try:
            for job in bar:
                _run(job, fill, outcome)
                if outcome.stopped:
                    break
                if outcome.failures:
                    bar.set_postfix(failed=len(outcome.failures))
        except KeyboardInterrupt:
            outcome.stopped, outcome.interrupted = "interrupted", True
    return outcome


def _run(job: Job, fill: Callable[..., Any], outcome: Outcome) -> None:
    try:
        job(fill)
        outcome.done += 1
    except OSError as error:
        reason = f"{error.filename}: {error.strerror.lower()}" if error.filename and error.strerror else str(error)
        if error.errno in FULL:
            outcome.stopped = reason
        else:
            outcome.failures.append(reason)
    except ValueError as error:
        outcome.failures.append(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        outcome.failures.append(f"{job.name}: not enough memory for an image of this size")


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)  # messages of torch on a CPU

"""Fill many images, one after the other; one that fails does not stop the rest."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what would meet every further image too


class Job(Protocol):
    """Reads one image and its mask, has the hole filled by what it is given, and writes the result."""

    @property
    def name(self) -> str: ...

    def __call__(self, fill: Callable[..., Any], /) -> None: ...


@dataclass
class Outcome:
    """How a run over many images has ended."""

    done: int = 0
    failures: list[str] = field(default_factory=list)  # one line for each image
    stopped: str = ""  # why the rest was not tried: the disk is full, or Ctrl-C was pressed
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 where all went well, 130 after Ctrl-C (as shells have it), else 1."""
        return 130 if self.interrupted else int(bool(self.failures or self.stopped))


def fill_all(fill: Callable[..., Any], jobs: Sequence[Job]) -> Outcome:
    """Run every job with a progress bar. ``fill`` is an ``Inpainter``, or anything called like one."""
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
        what = f"{error.filename}: {error.strerror.lower()}" if error.filename and error.strerror else str(error)
        if error.errno in FULL:
            outcome.stopped = what
        else:
            outcome.failures.append(what)
    except ValueError as error:
        outcome.failures.append(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        outcome.failures.append(f"{job.name}: not enough memory for an image of this size")


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)  # torch, on a CPU

"""One computation at a time; what waits is bounded, what is no longer wanted stops within a layer of the network."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any, TypeVar

from torch.nn.modules.module import register_module_forward_pre_hook

from lama.demo.refused import RefusedError
from lama.machine.allocator import give_back
from lama.progress_bar import listening

Result = TypeVar("Result")
RETRY_AFTER = 5  # seconds, in the answer to a request that finds the queue full


class CancelledJobError(Exception):
    """The job is no longer wanted."""


class Job:
    """One request's computation, as those see it who ask how far it is."""

    def __init__(self) -> None:
        self.name = ""  # chosen by the client
        self.state = "reading"  # then waiting, computing, writing
        self.what, self.done, self.of = "", 0, 0
        self.since = time.monotonic()
        self._cancelled = Event()

    def cancel(self) -> None:
        """Let whatever computes it stop at the next layer."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise CancelledJobError where it is no longer wanted."""
        if self._cancelled.is_set():
            raise CancelledJobError

    def enter(self, state: str) -> None:
        self.state, self.since = state, time.monotonic()

    def tell(self, what: str, done: int, of: int) -> None:
        """Called by the prediction between two pieces."""
        self.check()
        self.what, self.done, self.of = what, done, of


class Worker:
    """A thread that computes and one that reads and writes images; ``most`` jobs at a time are taken in.

    Two threads, so that an image can be opened while another one is refined for minutes.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"queue={most}: expected at least 1")
        self.most = most
        self.jobs: list[Job] = []
        self.closed = False
        self._computing = ThreadPoolExecutor(1, "compute")
        self._images = ThreadPoolExecutor(1, "images")

    @contextmanager
    def admitted(self, job: Job) -> Iterator[None]:
        """Count ``job`` in while the block runs, and cancel it after.

        Raises RefusedError where the queue is full, or closed.
        """
        if self.closed:
            raise closing()
        if len(self.jobs) >= self.most:
            raise RefusedError(
                503, f"busy: {len(self.jobs)} requests are being worked on; try again in {RETRY_AFTER} seconds",
                {"Retry-After": str(RETRY_AFTER)},
            )  # fmt: skip
        self.jobs.append(job)
        try:
            yield
        finally:
            job.cancel()
            self.jobs.remove(job)
            if not self.jobs and not self.closed:
                self._computing.submit(give_back)

    async def image_work(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run what reads or writes an image."""
        return await asyncio.get_running_loop().run_in_executor(self._images, work, *arguments)

    async def compute(self, job: Job, work: Callable[[], Result]) -> Result:
        """Run what takes long, after what came before it. Raises CancelledJobError where ``job`` was cancelled."""

        def run() -> Result:
            job.check()
            job.enter("computing")
            with listening(job.tell), _between_layers(job.check):
                return work()

        job.enter("waiting")
        return await asyncio.get_running_loop().run_in_executor(self._computing, run)

    def position(self, job: Job) -> int:
        """How many jobs are to be computed before it."""
        return sum(other.state in ("waiting", "computing") for other in self.jobs[: self.jobs.index(job)])

    def find(self, name: str) -> Job | None:
        """The job called so, None where it is not known yet or any more."""
        return next((job for job in self.jobs if name and job.name == name), None)

    def close(self) -> None:
        """Cancel everything; may be called twice."""
        self.closed = True
        for job in self.jobs:
            job.cancel()
        self._computing.shutdown(wait=False, cancel_futures=True)
        self._images.shutdown(wait=False, cancel_futures=True)


def closing() -> RefusedError:
    """What a request gets when the server ends."""
    return RefusedError(503, "the server is being stopped")


@contextmanager
def _between_layers(check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before every layer that computes."""
    handle = register_module_forward_pre_hook(lambda module, inputs: check())
    try:
        yield
    finally:
        handle.remove()

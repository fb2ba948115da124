"""The job queue: one computation at a time, a bounded queue, cancellation between layers of the network."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any, TypeVar

from torch.nn.modules.module import register_module_forward_pre_hook

from lama.machine.allocator import give_back
from lama.progress_bar import listening
from lama.serving.refused import RefusedError

Result = TypeVar("Result")
ARRIVING = 8  # requests that may be arriving, for each place in the queue
RETRY_AFTER = 5  # seconds, in the answer when the queue is full


class CancelledJobError(Exception):
    """The job was cancelled."""


class Job:
    """The computation of one request and its progress."""

    def __init__(self) -> None:
        self.name = ""  # chosen by the client
        self.state = "arriving"  # then reading, waiting, computing, writing
        self.what, self.done, self.of = "", 0, 0
        self.since = time.monotonic()
        self.held = 0  # bytes of its request and images
        self._cancelled = Event()

    def cancel(self) -> None:
        """Stop the computation: at the next layer of the network, or within a second of the search for texture."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise CancelledJobError if the job was cancelled."""
        if self._cancelled.is_set():
            raise CancelledJobError

    def enter(self, state: str) -> None:
        self.state, self.since = state, time.monotonic()

    def tell(self, what: str, done: int, of: int) -> None:
        """Record progress; called by the prediction after each tile or step."""
        self.check()
        self.what, self.done, self.of = what, done, of


class Worker:
    """A thread for computations and one for image files.

    The queue has three limits. At most ``most`` jobs wait or run. At most ``ARRIVING * most`` requests arrive at once.
    All requests and images together take at most ``most_mb`` megabytes. Raises ValueError if ``most`` is below 1 or
    ``most_mb`` is not above 0.
    """

    def __init__(self, most: int, most_mb: float = 1000) -> None:
        if most < 1:
            raise ValueError(f"queue={most}: expected at least 1")
        if not most_mb > 0:
            raise ValueError(f"queue_mb={most_mb}: expected more than 0")
        self.most, self.most_mb = most, most_mb
        self.jobs: list[Job] = []
        self.closed = False
        self._computing = ThreadPoolExecutor(1, "compute")
        self._images = ThreadPoolExecutor(1, "images")

    @contextmanager
    def admitted(self, job: Job) -> Iterator[None]:
        """Keep ``job`` during the block, then cancel it. Raises RefusedError if the queue is full.

        A job takes its place in the queue when its request ``arrived``, so slow clients do not keep others out.
        """
        if self.closed:
            raise closing()
        self._check_room()
        if len(self.jobs) >= self.most + ARRIVING * self.most:
            raise _busy(f"{len(self.jobs)} requests")
        self.jobs.append(job)
        try:
            yield
        finally:
            job.cancel()
            self.jobs.remove(job)
            if not self.jobs and not self.closed:
                self._computing.submit(give_back)

    def arrived(self, job: Job) -> None:
        """Give ``job`` its place, since its request has arrived. Raises RefusedError if the queue is full."""
        self._check_room()
        job.enter("reading")

    def _check_room(self) -> None:
        placed = sum(job.state != "arriving" for job in self.jobs)
        if placed >= self.most:
            raise _busy(f"{placed} requests")

    def hold(self, job: Job, count: int) -> None:
        """Count ``count`` bytes for ``job``. Raises RefusedError if all jobs hold too many; one alone may hold any."""
        held = sum(other.held for other in self.jobs if other is not job)
        if held and held + job.held + count > self.most_mb * 1e6:
            raise _busy(f"{held / 1e6:.0f} MB of requests and images")
        job.held += count

    async def image_work(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run ``work``, which reads or writes an image, in the image thread."""
        return await asyncio.get_running_loop().run_in_executor(self._images, work, *arguments)

    async def compute(self, job: Job, work: Callable[[], Result]) -> Result:
        """Run ``work`` in the computing thread, in order. Raises CancelledJobError if ``job`` was cancelled."""

        def run() -> Result:
            job.check()
            job.enter("computing")
            with listening(job.tell), _between_layers(job.check):
                return work()

        job.enter("waiting")
        return await asyncio.get_running_loop().run_in_executor(self._computing, run)

    def position(self, job: Job) -> int:
        """The number of jobs that compute before ``job``; those admitted later may have come first from reading."""
        return sum(
            other.state == "computing" or (other.state == "waiting" and other.since < job.since)
            for other in self.jobs
            if other is not job
        )

    def find(self, name: str) -> Job | None:
        """The job with that name, or None."""
        return next((job for job in self.jobs if name and job.name == name), None)

    def close(self) -> None:
        """Cancel all jobs and stop the threads; may be called twice."""
        self.closed = True
        for job in self.jobs:
            job.cancel()
        self._computing.shutdown(wait=False, cancel_futures=True)
        self._images.shutdown(wait=False, cancel_futures=True)


def _busy(what: str) -> RefusedError:
    message = f"busy: {what} are in the queue; try again in {RETRY_AFTER} seconds"
    return RefusedError(503, message, {"Retry-After": str(RETRY_AFTER)})


def closing() -> RefusedError:
    """The answer to requests while the server stops."""
    return RefusedError(503, "the server is stopping")


@contextmanager
def _between_layers(check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` before every layer of a network."""
    handle = register_module_forward_pre_hook(lambda module, inputs: check())
    try:
        yield
    finally:
        handle.remove()

"""The order of training samples, as a function of (seed, epoch) alone."""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from lama.data.datasets import SampleKey
from lama.machine.ranks import rank_and_world


class ShuffledPasses:
    """The order of samples: position in the training -> (pass, image). Pass k is a permutation seeded by (seed, k)."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self._order: tuple[int, list[int]] = (-1, [])

    def __call__(self, position: int) -> tuple[int, int]:
        pass_, offset = divmod(position, self.length)
        if self._order[0] != pass_:
            self._order = (pass_, np.random.default_rng([self.seed, pass_]).permutation(self.length).tolist())
        return pass_, self._order[1][offset]


class EpochSampler(Sampler[SampleKey]):
    """Cuts an endless stream of samples into epochs; ``order`` is the stream, by default shuffled passes over the data.

    An epoch has ``epoch_size`` samples over all processes, or ``process_size`` on each process; by default every
    image once. An epoch may be longer than the data set, and an epoch
    of a large data set continues where the previous one stopped.

    With several processes each takes every ``world``-th sample of the same stream. If ``epoch_size`` is not divisible
    by the number of processes, the last samples of the epoch are dropped, since all processes must take the same number
    of steps. Lightning calls ``set_epoch``; ``start_at`` resumes within an epoch. Raises ValueError if ``epoch_size``
    is below 1.
    """

    def __init__(
        self,
        length: int,
        epoch_size: int | None = None,
        seed: int = 0,
        process_size: int | None = None,
        order: Callable[[int], tuple[int, int]] | None = None,
    ) -> None:
        if epoch_size is not None and epoch_size < 1:
            raise ValueError(f"data.epoch_size: expected at least 1 sample, or null for all, got {epoch_size}")
        self.length = length
        self._epoch_size = epoch_size or length
        self._process_size = process_size
        self.seed = seed
        self.order = order or ShuffledPasses(length, seed)
        self.epoch = 0
        self._begun: tuple[int, int] = (0, 0)  # (epoch, samples of it that each process has seen)

    @property
    def epoch_size(self) -> int:
        """Samples per epoch over all processes."""
        return self._epoch_size if self._process_size is None else self._process_size * rank_and_world()[1]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def start_at(self, epoch: int, samples: int) -> None:
        """Resume in ``epoch``, after ``samples`` samples on each process."""
        self.epoch = epoch
        self._begun = (epoch, samples)

    def share(self, world: int) -> int:
        """Samples per epoch on each of ``world`` processes."""
        return self._epoch_size // world if self._process_size is None else self._process_size

    def __len__(self) -> int:
        """Samples per whole epoch on this process, also for an epoch that is resumed."""
        return self.share(rank_and_world()[1])

    def __iter__(self) -> Iterator[SampleKey]:
        rank, world = rank_and_world()
        start = self.epoch * self.epoch_size
        begun = self._begun[1] if self.epoch == self._begun[0] else 0
        for position in range(start + begun * world + rank, start + len(self) * world, world):
            yield SampleKey(*self.order(position), position)

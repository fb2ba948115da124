"""The order of training samples, as a function of (seed, epoch) alone."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from lama.data.datasets import SampleKey
from lama.machine.ranks import rank_and_world


class EpochSampler(Sampler[SampleKey]):
    """Cut an endless stream of shuffled passes over the data into epochs.

    An epoch has ``epoch_size`` samples over all processes, or ``process_size`` on each of them; by default every
    sample once.

    Pass k is a permutation seeded by (seed, k). Small data sets thus have epochs of any length, and an epoch of a
    large one continues where the one before it stopped. Under several processes each takes every ``world``-th sample
    of the same stream, so their union is the epoch, each sample once; an epoch that does not divide by the number of
    processes loses its last few samples, since processes of unequal length would wait for each other for ever.
    Lightning calls ``set_epoch``. ``start_at`` lets one epoch begin after its first samples, where a training was
    interrupted; what follows is what would have followed.
    """

    def __init__(
        self, length: int, epoch_size: int | None = None, seed: int = 0, process_size: int | None = None
    ) -> None:
        if epoch_size is not None and epoch_size < 1:
            raise ValueError(f"data.epoch_size: expected at least 1 sample, or null for all, got {epoch_size}")
        self.length = length
        self._epoch_size = epoch_size or length
        self._process_size = process_size
        self.seed = seed
        self.epoch = 0
        self._begun: tuple[int, int] = (0, 0)  # an epoch, and how many of its samples each process has had

    @property
    def epoch_size(self) -> int:
        """Samples per epoch over all processes."""
        return self._epoch_size if self._process_size is None else self._process_size * rank_and_world()[1]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def start_at(self, epoch: int, samples: int) -> None:
        """Begin with ``epoch``, of which each process has had so many samples."""
        self.epoch = epoch
        self._begun = (epoch, samples)

    def share(self, world: int) -> int:
        """Samples of an epoch on each of so many processes."""
        return self._epoch_size // world if self._process_size is None else self._process_size

    def __len__(self) -> int:
        """Samples of a whole epoch on each process, also where this one begins later."""
        return self.share(rank_and_world()[1])

    def __iter__(self) -> Iterator[SampleKey]:
        rank, world = rank_and_world()
        order: tuple[int, list[int]] = (-1, [])
        start = self.epoch * self.epoch_size
        begun = self._begun[1] if self.epoch == self._begun[0] else 0
        for position in range(start + begun * world + rank, start + len(self) * world, world):
            pass_, offset = divmod(position, self.length)
            if order[0] != pass_:
                order = (pass_, np.random.default_rng([self.seed, pass_]).permutation(self.length).tolist())
            yield SampleKey(pass_, order[1][offset], position)

"""Training samples (an image, augmented, and a mask drawn for it), and their order: a function of (seed, epoch)."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, get_worker_info

from lama.data.sources import known_names, known_paths
from lama.interfaces import Augmentation, Augmented, ImageSource, MaskSampler, PairedMaskSampler, ScheduledMaskSampler
from lama.machine.ranks import rank_and_world
from lama.pictures.images import image_to_tensor, mask_to_tensor
from lama.pictures.masks import check_size

MOST_WORKERS = 256  # the current images of this many workers are recorded


class SampleKey(NamedTuple):
    """The key of a sample, from sampler to dataset."""

    pass_: int  # number of the pass over the source
    image: int  # its index in the source
    position: int = 0  # number of the sample in the whole training


class TrainingDataset(Dataset[dict[str, Tensor]]):
    """``dataset[SampleKey]`` -> {"image": float (3, H, W) in [0, 1], "mask": float (1, H, W), 1 = hole}.

    Crop, augmentation and mask are a function of (seed, pass, index) alone; masks that grow depend on the position in
    the training as well. The number of workers and processes and resuming have no influence.

    An unusable image is replaced by the next usable one and recorded in ``broken``, which all workers share. Raises
    ValueError if more than the share ``max_broken`` of the images is broken.
    """

    def __init__(
        self, source: ImageSource, augment: Augmentation, masks: MaskSampler, seed: int, max_broken: float = 0.05
    ) -> None:
        if not 0 <= max_broken < 1:
            raise ValueError(f"data.max_broken: expected a share between 0 and 1, got {max_broken}")
        self.source = source
        self.augment = augment
        self.masks = masks
        self.seed = seed
        self.max_broken = max_broken
        self.broken = torch.zeros(len(source), dtype=torch.bool).share_memory_()
        self.at_work = torch.zeros(MOST_WORKERS, 2, dtype=torch.long).share_memory_()  # process id, image + 1

    def __getitem__(self, key: tuple[int, ...]) -> dict[str, Tensor]:
        pass_, index, position = SampleKey(*key)
        rng = np.random.default_rng([self.seed, pass_, index])
        worker = get_worker_info()
        if worker is not None and worker.id < MOST_WORKERS:  # names the image if the worker is killed
            self.at_work[worker.id, 0], self.at_work[worker.id, 1] = os.getpid(), index + 1
        image, mask = self._healthy(index, rng)
        if mask is None:
            sampler = self.masks.at(position) if isinstance(self.masks, ScheduledMaskSampler) else self.masks
            mask = sampler(rng, *image.shape[:2])
        return {"image": image_to_tensor(image), "mask": mask_to_tensor(mask)}

    def _healthy(self, index: int, rng: np.random.Generator) -> Augmented:
        """The crop of image ``index`` or of the next usable one, and its mask if masks belong to images."""
        state = rng.bit_generator.state
        for candidate in (*range(index, len(self.source)), *range(index)):
            if self.broken[candidate]:
                continue
            rng.bit_generator.state = state  # a broken image draws nothing
            try:
                return self._crop(candidate, rng)
            except (ValueError, OSError) as error:
                self._give_up(candidate, error)
        raise ValueError("data: none of the images can be used")

    def _crop(self, index: int, rng: np.random.Generator) -> Augmented:
        name, image = self.source[index]
        mask = self.masks.of(rng, name) if isinstance(self.masks, PairedMaskSampler) else None
        if mask is not None:
            check_size(mask, image, name)
        try:
            return self.augment(image, rng, mask)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def _give_up(self, index: int, error: Exception) -> None:
        """Record a broken image. Raises ValueError if there are too many."""
        self.broken[index] = True
        count, total = int(self.broken.sum()), len(self.source)
        if count > self.max_broken * total:
            limit = f"{count} of {total} images cannot be used, more than data.max_broken={self.max_broken}"
            raise ValueError(f"{error} ({limit})") from error

    def name(self, index: int) -> str:
        """The file of an image; its name or its index if the source knows no files."""
        return str((known_paths(self.source) or known_names(self.source) or range(index + 1))[index])

    def broken_images(self) -> dict[int, str]:
        """{index: reason} of each image that was replaced."""
        reasons = {}
        for index in self.broken.nonzero().flatten().tolist():
            try:
                self._crop(index, np.random.default_rng(0))
                reasons[index] = f"{self.name(index)}: could not be read during training, but can be now"
            except (ValueError, OSError) as error:
                reasons[index] = str(error)
        return reasons


class EpochSampler(Sampler[SampleKey]):
    """Cuts an endless stream of shuffled passes over the data into epochs.

    An epoch has ``epoch_size`` samples over all processes, or ``process_size`` on each process; by default every
    image once. Pass k is a permutation seeded by (seed, k). So an epoch may be longer than the data set, and an epoch
    of a large data set continues where the previous one stopped.

    With several processes each takes every ``world``-th sample of the same stream. If ``epoch_size`` is not divisible
    by the number of processes, the last samples of the epoch are dropped, since all processes must take the same number
    of steps. Lightning calls ``set_epoch``; ``start_at`` resumes within an epoch. Raises ValueError if ``epoch_size``
    is below 1.
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
        order: tuple[int, list[int]] = (-1, [])
        start = self.epoch * self.epoch_size
        begun = self._begun[1] if self.epoch == self._begun[0] else 0
        for position in range(start + begun * world + rank, start + len(self) * world, world):
            pass_, offset = divmod(position, self.length)
            if order[0] != pass_:
                order = (pass_, np.random.default_rng([self.seed, pass_]).permutation(self.length).tolist())
            yield SampleKey(pass_, order[1][offset], position)

"""Training samples (an image, augmented, and a mask drawn for it), and their order: a function of (seed, epoch)."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from lama.data.sources import known_names, known_paths
from lama.interfaces import Augmentation, ImageSource, MaskArray, MaskSampler, PairedMaskSampler, ScheduledMaskSampler
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
        image, mask = self.drawn(key, self.augment)
        return {"image": image_to_tensor(image), "mask": mask_to_tensor(mask)}

    def drawn(self, key: tuple[int, ...], augment: Callable[..., tuple[Any, Any]]) -> tuple[Any, MaskArray]:
        """The sample as ``augment(image, rng, mask)`` returns it; a mask is drawn if masks do not belong to images."""
        pass_, index, position = SampleKey(*key)
        rng = np.random.default_rng([self.seed, pass_, index])
        worker = get_worker_info()
        if worker is not None and worker.id < MOST_WORKERS:  # names the image if the worker is killed
            self.at_work[worker.id, 0], self.at_work[worker.id, 1] = os.getpid(), index + 1
        image, mask = self._healthy(index, rng, augment)
        if mask is None:
            sampler = self.masks.at(position) if isinstance(self.masks, ScheduledMaskSampler) else self.masks
            mask = sampler(rng, *self.augment.size)
        return image, mask

    def _healthy(self, index: int, rng: np.random.Generator, augment: Callable[..., tuple[Any, Any]]) -> Any:
        """The crop of image ``index`` or of the next usable one, and its mask if masks belong to images."""
        state = rng.bit_generator.state
        for candidate in (*range(index, len(self.source)), *range(index)):
            if self.broken[candidate]:
                continue
            rng.bit_generator.state = state  # a broken image draws nothing
            try:
                return self._crop(candidate, rng, augment)
            except (ValueError, OSError) as error:
                self._give_up(candidate, error)
        raise ValueError("data: none of the images can be used")

    def _crop(self, index: int, rng: np.random.Generator, augment: Callable[..., tuple[Any, Any]]) -> Any:
        name, image = self.source[index]
        mask = self.masks.of(rng, name) if isinstance(self.masks, PairedMaskSampler) else None
        if mask is not None:
            check_size(mask, image, name)
        try:
            return augment(image, rng, mask)
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
                self._crop(index, np.random.default_rng(0), self.augment)
                reasons[index] = f"{self.name(index)}: could not be read during training, but can be now"
            except (ValueError, OSError) as error:
                reasons[index] = str(error)
        return reasons


class WindowDataset(Dataset[tuple[Any, MaskArray]]):
    """The samples of ``dataset`` before the device has computed them: see ``DistortionsOnDevice``."""

    def __init__(self, dataset: TrainingDataset, window: Callable[..., tuple[Any, Any]]) -> None:
        self.dataset = dataset
        self.window = window

    def __getitem__(self, key: tuple[int, ...]) -> tuple[Any, MaskArray]:
        return self.dataset.drawn(key, self.window)

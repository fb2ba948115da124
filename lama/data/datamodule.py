"""Training and validation data of one run, as a LightningDataModule."""

import atexit
import hashlib
import inspect
import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import lama.torchvision_ops  # noqa: F401  isort: skip  (before lightning)
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from lama.data.cache import DecodedCache, gigabytes_to_spare
from lama.data.datasets import TrainingDataset, WindowDataset
from lama.data.distortions_gpu import DistortionsOnDevice
from lama.data.equal_sizes import batches_of_one_size
from lama.data.evaluation_set import EvaluationDataset, FrozenPairs, PairFolder
from lama.data.mixture import MixedPasses, mixed_passes
from lama.data.sampler import EpochSampler
from lama.data.sources import Subset, evenly_spaced, known_names, known_paths
from lama.interfaces import STOP_SIGNALS, Augmentation, EvaluationSet, ImageSource, MaskSampler
from lama.machine.orphans import end_with
from lama.machine.ranks import rank_and_world

logger = logging.getLogger(__name__)

MANY_PAIRS = 300  # validation pairs on a process from which on workers read them; starting workers takes a second


class InpaintingDataModule(LightningDataModule):
    """Images for training and a frozen set for validation.

    The frozen set is the first of these that is given: the pairs in ``val_pairs``; the images in ``val_path``; every
    ``1 / val_fraction``-th image of ``path``, which is then not used for training. Raises ValueError for options out of
    range, FileNotFoundError or ValueError if a folder is missing or empty.
    """

    def __init__(
        self,
        source: Callable[[Any], ImageSource],  # opens ``path`` and ``val_path``
        path: str | dict[str, Any],  # training images: a folder, a split of the built-in photographs, or a mixture
        masks: MaskSampler,  # for training
        augment: Augmentation,
        val_masks: MaskSampler,  # for val_path and val_fraction, drawn once from the seed
        val_path: str | None = None,  # validation images
        val_pairs: str | None = None,  # validation pairs: a folder of name.png + name_mask000.png
        val_fraction: float = 0.05,  # share of the training images used for validation if neither is given
        val_size: int = 256,  # pixels, side of the crops with ``val_masks``
        val_per_image: int = 1,  # crops per validation image
        max_val_pairs: int = 200,  # largest number of pairs drawn for validation
        batch_size: int = 10,  # per process
        epoch_size: int | None = None,  # samples per epoch over all processes; None = every image once
        epoch_batches: int | None = None,  # batches per epoch on each process, if epoch_size is None
        num_workers: int = 2,
        cache_gb: float | None = None,  # gigabytes for decoded images; 0 = none, None = a quarter of the free memory
        max_broken: float = 0.05,  # largest share of unusable images before training stops
        white: int | None = None,  # the value of 16-bit images that becomes white, 4095 for 12 bits; None = 65535
        seed: int = 0,
    ) -> None:
        super().__init__()
        least = {"batch_size": 1, "num_workers": 0, "val_size": 16, "val_per_image": 1, "max_val_pairs": 1, "seed": 0}
        given = {name: value for name, value in locals().items() if name in least}
        for name, value in given.items():
            if value < least[name]:
                raise ValueError(f"data.{name}: expected at least {least[name]}, got {value}")
        if not 0 < val_fraction < 1:
            raise ValueError(f"data.val_fraction: expected a share between 0 and 1, got {val_fraction}")
        if epoch_batches is not None and epoch_batches < 1:
            raise ValueError(f"data.epoch_batches: expected at least 1, or null, got {epoch_batches}")
        if white is not None:
            if not 0 < white <= 65535 or "white" not in inspect.signature(source).parameters:
                raise ValueError(f"data.white={white}: expected 1 to 65535 and image files as the source, or null")
            source = partial(source, white=white)  # type: ignore[call-arg]
        try:
            images = source(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"data.path, the images to train on: {error}") from None
        held_out: ImageSource | None = None
        if val_pairs is None and val_path is not None:
            held_out = source(val_path)
        elif val_pairs is None:
            images, held_out = _split(images, val_fraction, path)
        self.val_pairs: EvaluationSet
        if held_out is None:
            assert val_pairs is not None
            self.val_pairs = PairFolder(val_pairs, white=white)
        else:
            most = max(1, max_val_pairs // val_per_image)
            held_out = usable(Subset(held_out, evenly_spaced(range(len(held_out)), most)))
            self.val_pairs = FrozenPairs(held_out, val_masks, val_size, val_per_image, seed=seed)
        self._images = images
        self.fingerprint = self.fingerprint_now()  # before the cache reads the first images
        spare = gigabytes_to_spare(cache_gb)
        cache = DecodedCache(images, spare) if spare > 0 else None
        self._may_shrink = cache if cache_gb is None else None
        self.train_set = TrainingDataset(images if cache is None else cache, augment, masks, seed, max_broken)
        process_size = None if epoch_batches is None or epoch_size is not None else epoch_batches * batch_size
        self.sampler = EpochSampler(len(images), epoch_size, seed, process_size, mixed_passes(images, seed))
        self.white = white
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.waited = Waited()

    def train_dataloader(self) -> DataLoader[Any]:
        atexit.register(_end_workers)
        return TimedLoader(
            self.waited,
            self.samples,
            batch_size=self.batch_size,
            collate_fn=None if self.on_device is None else self.on_device.collate,
            sampler=self.sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=partial(_begin_worker, os.getpid()),
            pin_memory=torch.cuda.is_available(),
            drop_last=len(self.sampler) >= self.batch_size,  # BatchNorm needs more than a last batch of one
        )

    @property
    def on_device(self) -> DistortionsOnDevice | None:
        """The augmentation, if the device of the training computes it."""
        return self.train_set.augment if isinstance(self.train_set.augment, DistortionsOnDevice) else None

    @property
    def samples(self) -> Dataset[Any]:
        """What a worker makes of each sample."""
        return self.train_set if self.on_device is None else WindowDataset(self.train_set, self.on_device.window)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Lightning's hook: compute the crops of a batch of windows, on the device that has it."""
        return self.on_device.finish(batch) if self.on_device is not None and "window" in batch else batch

    def val_dataloader(self) -> DataLoader[Any]:
        # A GPU computes one image hardly faster than a batch. On a CPU a batch saves nothing, and single images have no
        # rounding that depends on the batch.
        rank, world = rank_and_world()
        share = range(rank, len(self.val_pairs), world)
        together = torch.cuda.is_available()
        return DataLoader(
            EvaluationDataset(self.val_pairs),
            batch_sampler=batches_of_one_size(self._val_sizes, share) if together else [[i] for i in share],
            num_workers=self.num_workers if len(share) >= MANY_PAIRS else 0,
            worker_init_fn=partial(_begin_worker, os.getpid()),
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def _val_sizes(self) -> Sequence[tuple[int, int]]:
        """(width, height) of each validation pair."""
        if isinstance(self.val_pairs, PairFolder | FrozenPairs):
            return self.val_pairs.sizes
        return [(pair.image.shape[1], pair.image.shape[0]) for pair in self.val_pairs]  # a few, in memory: ``debug``

    def share_machine(self, processes: int) -> None:
        """Divide the memory of the cache by ``processes``, the number of processes with a cache on this machine."""
        if self._may_shrink is not None:
            self._may_shrink.share_machine(processes)

    def batches(self, processes: int) -> int:
        """Batches per epoch on each of ``processes``. Raises ValueError if there are too few samples or pairs."""
        samples = self.sampler.share(processes)
        if samples < 1:
            raise ValueError(f"data: {self.sampler.epoch_size} samples per epoch are too few for {processes} processes")
        if len(self.val_pairs) < processes:
            raise ValueError(f"data: {len(self.val_pairs)} validation pairs are too few for {processes} processes")
        return max(1, samples // self.batch_size)

    def fingerprint_now(self) -> str:
        """Identifies the images by their names and the sizes of some files, wherever they lie; "" without files.

        ``fingerprint`` is its value at the start. The sizes of at most 1000 files are asked for: a data set of millions
        may lie on a slow disk.
        """
        paths = list(known_paths(self._images))
        names = list(known_names(self._images)) if paths else []
        if isinstance(self.val_pairs, PairFolder):
            names += self.val_pairs.names
            paths += [mask for _, mask in self.val_pairs.paths]
        elif isinstance(self.val_pairs, FrozenPairs) and paths:
            names += known_names(self.val_pairs.source)
            paths += known_paths(self.val_pairs.source)
        sizes = [_size(path) for path in paths[:: -(-len(paths) // 1000)]] if paths else []
        return hashlib.sha256(json.dumps([names, sizes]).encode()).hexdigest() if paths else ""

    def describe(self, processes: int) -> str:
        """One line for the start of a run on ``processes`` processes."""
        samples, pairs = self.sampler.share(processes) * processes, len(self.val_pairs)
        order = self.sampler.order
        shares = f" ({order.text})" if isinstance(order, MixedPasses) else ""
        images = f"{self.sampler.length} training images{shares}"
        return f"{images}, {samples} samples per epoch, {pairs} frozen validation pairs"


@dataclass
class Waited:
    seconds: float = 0.0


class TimedLoader(DataLoader[Any]):
    """A DataLoader that records how long the training waits for it."""

    def __init__(self, waited: Waited, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.waited = waited

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            began = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited.seconds += time.perf_counter() - began
            yield batch


def _size(file: Path) -> int:
    """Bytes of ``file``; -1 if it has vanished."""
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _begin_worker(parent: int, worker: int) -> None:
    end_with(parent)
    _leave_signals_alone(worker)
    sys.excepthook = _unless_left_alone


def _leave_signals_alone(worker: int) -> None:
    """Ignore stop signals in a worker: the training process needs batches until it stops, and ends the workers."""
    for name in STOP_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _unless_left_alone(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the error of a thread, unless the training process hung up on it: that process says why itself."""
    if not issubclass(kind, ConnectionError):
        sys.__excepthook__(kind, error, trace)


def _end_workers() -> None:
    """Kill the workers. At exit multiprocessing would send SIGTERM, which they ignore, and wait for ever."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _split(images: ImageSource, fraction: float, path: Any) -> tuple[ImageSource, ImageSource]:
    n = len(images)
    kept_apart = max(1, round(n * fraction))
    if kept_apart >= n:
        raise ValueError(f"{path}: expected at least 2 images, one of them for validation, got {n}")
    held_out = evenly_spaced(range(n), kept_apart)
    return Subset(images, sorted(set(range(n)) - set(held_out))), Subset(images, held_out)


def usable(images: ImageSource, what: str = "validation") -> ImageSource:
    """Drop images that cannot be read, with a warning: a damaged file must not end the training."""
    good = []
    for i in range(len(images)):
        try:
            images[i]
            good.append(i)
        except (ValueError, OSError) as error:
            logger.warning("%s: %s (skipped)", what, error)
            last = error
    if not good:
        raise ValueError(f"{what}: none of {len(images)} images can be used; {last}")
    return images if len(good) == len(images) else Subset(images, good)

"""Short trainings that answer a question: does everything run, does it learn, where does the time go?"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile, schedule

from lama.data.datamodule import InpaintingDataModule
from lama.data.datasets import SampleKey
from lama.data.sampler import EpochSampler
from lama.files import atomic_write, write_text
from lama.interfaces import EvaluationPair

logger = logging.getLogger(__name__)

OWN = ("limit_train_batches", "limit_val_batches", "val_check_interval", "check_val_every_n_epoch")
OVERHEAD = ("ProfilerStep", "USDT", "Profiler")  # rows of the profiler about itself


@dataclass
class Debug:
    """A training of a few batches, in a folder of its own. Raises ValueError for an option below 1."""

    name: ClassVar[str]
    verdict: ClassVar[str] = ""  # message for a good end

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"debug.{name}: expected at least 1, got {value}")

    def folder(self, run_dir: str) -> str:
        """Its folder; an earlier debug run in it is replaced."""
        return f"{run_dir}-debug-{self.name}"

    def prepare(self, trainer: dict[str, Any], data: InpaintingDataModule, processes: int) -> dict[str, Any]:
        """Shorten ``data``, and return the arguments of Lightning's Trainer for it."""
        raise NotImplementedError

    def callbacks(self, run_dir: Path) -> list[Callback]:
        return []


@dataclass
class Limit(Debug):
    """Run each part once: a few batches, a validation, a checkpoint, weights, curves, sample grids."""

    name: ClassVar = "limit"
    verdict: ClassVar = "everything runs; the same command without debug= trains"

    batches: int = 2

    def prepare(self, trainer: dict[str, Any], data: InpaintingDataModule, processes: int) -> dict[str, Any]:
        samples = self.batches * data.batch_size * processes
        data.sampler = EpochSampler(data.sampler.length, samples, data.sampler.seed, order=data.sampler.order)
        data.val_pairs = [data.val_pairs[i] for i in range(min(self.batches * processes, len(data.val_pairs)))]
        return _short(trainer, epochs=1)


@dataclass
class Overfit(Debug):
    """Train and validate on the same few samples, crops and masks: the losses have to fall."""

    name: ClassVar = "overfit"

    samples: int = 8
    batches: int = 400

    def prepare(self, trainer: dict[str, Any], data: InpaintingDataModule, processes: int) -> dict[str, Any]:
        count = min(self.samples, data.sampler.length)
        epochs = min(4, self.batches)
        data.sampler = FixedSamples(count, self.batches // epochs * data.batch_size * processes, data.sampler.seed)
        data.val_pairs = [_as_pair(data, index) for index in range(count)]
        return _short(trainer, epochs)

    def callbacks(self, run_dir: Path) -> list[Callback]:
        return [Falling(self.batches)]


@dataclass
class Profile(Debug):
    """Profile a few batches with torch: ``profile.json`` for https://ui.perfetto.dev, ``profile.txt`` to read."""

    name: ClassVar = "profile"

    batches: int = 4
    warm_up: int = 4

    def prepare(self, trainer: dict[str, Any], data: InpaintingDataModule, processes: int) -> dict[str, Any]:
        return Limit(self.batches + self.warm_up + 1).prepare(trainer, data, processes)

    def callbacks(self, run_dir: Path) -> list[Callback]:
        return [Profiler(run_dir, self.batches, self.warm_up)]


class FixedSamples(EpochSampler):
    """The first images with the crops and masks of the first epoch, in changing order."""

    def __iter__(self) -> Iterator[SampleKey]:
        for key in super().__iter__():
            yield SampleKey(0, key.image)


class Falling(Callback):
    """Compares the mean losses of the first and the last tenth of the batches."""

    def __init__(self, batches: int) -> None:
        self.few = max(1, batches // 10)
        self.losses: dict[str, list[float]] = {}

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train_gen_") and not name.endswith(("_lr", "_grad_norm")) and not outputs:
                self.losses.setdefault(name.removeprefix("train_"), []).append(float(value))

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        means = {name: (fmean(values[: self.few]), fmean(values[-self.few :])) for name, values in self.losses.items()}
        for name, (first, last) in means.items():
            logger.info("overfit: %s %.4g at the start, %.4g at the end", name, first, last)
        first, last = means.get("gen_total", (0.0, 0.0))
        if last < first:
            logger.info("overfit: it learns: the losses have fallen to %.0f %% of the start", 100 * last / first)
        else:
            logger.warning("overfit: the generator's losses do not fall on the same few samples; look at the learning "
                           "rates, the weights of the losses, and samples/")  # fmt: skip


class Profiler(Callback):
    """Profiles ``batches`` batches after ``warm_up`` others."""

    def __init__(self, run_dir: Path, batches: int, warm_up: int) -> None:
        self.run_dir = run_dir
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
        steps = schedule(wait=0, warmup=warm_up, active=batches, repeat=1)
        self.profile = profile(activities=activities, schedule=steps, on_trace_ready=self._write)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.profile.start()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.is_global_zero:
            self.profile.step()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.profile.stop()

    def _write(self, finished: profile) -> None:
        order = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        with atomic_write(self.run_dir / "profile.json") as partial:
            finished.export_chrome_trace(str(partial))
        text = finished.key_averages().table(sort_by=order, row_limit=60, max_name_column_width=60)
        write_text(self.run_dir / "profile.txt", text)
        logger.info("profile: %s (open it in https://ui.perfetto.dev), %s; most of the time went into:",
                    self.run_dir / "profile.json", self.run_dir / "profile.txt")  # fmt: skip
        time = f"{order.removesuffix('_total').replace('cuda', 'device')}_total"
        rows = [event for event in finished.key_averages() if not event.key.startswith(OVERHEAD)]
        events = sorted(rows, key=lambda event: -getattr(event, time))
        total = sum(getattr(event, time) for event in events) or 1
        for event in events[:8]:
            logger.info("  %4.1f %%  %s", 100 * getattr(event, time) / total, event.key[:80])


def _short(trainer: dict[str, Any], epochs: int) -> dict[str, Any]:
    """``trainer`` for ``epochs`` epochs over all of the shortened data; every batch is logged."""
    kept = {key: value for key, value in trainer.items() if key not in OWN}
    return kept | {"max_epochs": epochs, "log_every_n_steps": 1}


def _as_pair(data: InpaintingDataModule, index: int) -> EvaluationPair:
    """A training sample as a validation pair."""
    sample = data.train_set[0, index]
    image = (sample["image"] * 255).round().byte().permute(1, 2, 0).numpy()
    return EvaluationPair(f"{index:03d}_mask000", image, sample["mask"][0].bool().numpy())

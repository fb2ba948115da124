"""Estimate a training from a few steps of it: configuration, sizes, memory and time. Writes no files."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lama.data.datamodule import InpaintingDataModule
from lama.data.feeding import feeding
from lama.machine.memory import peak_memory
from lama.runs.plain_progress import duration
from lama.runs.processes import choose_processes
from lama.runs.run import check_trainer, describe, quieten_lightning
from lama.training.module import InpaintingModule
from lama.training.rehearse import rehearse_step

STEPS = 4  # the first does not count


class Stopwatch(Callback):
    """Measures the seconds of each step, without the wait for its batch."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.began = 0.0

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        self.steps.append(time.perf_counter() - self.began)


def dry_run(module: InpaintingModule, data: InpaintingDataModule, trainer: dict[str, Any], config: str) -> None:
    """Print ``config``, sizes, and time and memory of ``STEPS`` steps that train ``module``. Raises ValueError.

    Where ``trainer`` asks for a GPU that this machine lacks, no step is measured; the rest is printed.
    """
    quieten_lightning()
    epochs = check_trainer(trainer)
    elsewhere = trainer.get("accelerator") in ("gpu", "cuda") and not torch.cuda.is_available()
    if elsewhere:
        number, first = _processes_elsewhere(trainer), True
    else:
        trainer, processes = choose_processes(trainer)
        number, first = processes.number, processes.first
    iterations = data.batches(number) * epochs
    if not first:
        return
    print(config)
    print(f"precision: {trainer.get('precision')}")
    for line in describe(module, data, number):
        print(line)
    seconds = None if elsewhere else _measure(module, data, trainer)
    bf16 = str(trainer.get("precision")).startswith("bf16") or (elsewhere and trainer.get("precision") == "auto")
    for line in _on_a_gpu(module, data, bf16):
        print(line)
    if seconds is None:
        print(f"estimated: {iterations} iterations; their time is unknown, for this machine has no GPU")
    else:
        several = " and the exchange between processes" if number > 1 else ""
        print(f"estimated: {iterations} iterations in {duration(iterations * seconds)}, without validation, waiting "
              f"for images{several}")  # fmt: skip


def _processes_elsewhere(trainer: dict[str, Any]) -> int:
    """The number of processes that ``trainer`` asks for; 1 where only the other machine knows it, as with auto."""
    devices = trainer.get("devices", 1)
    here = devices if isinstance(devices, int) else len(devices) if isinstance(devices, list) else 1
    return max(1, here) * int(trainer.get("num_nodes", 1))


def _measure(module: InpaintingModule, data: InpaintingDataModule, trainer: dict[str, Any]) -> float:
    """The seconds of a step of one process; prints them with its memory."""
    watch = Stopwatch()
    alone = trainer | {
        "devices": 1, "num_nodes": 1, "strategy": "auto", "max_epochs": 1, "limit_train_batches": STEPS,
        "limit_val_batches": 0, "num_sanity_val_steps": 0, "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False,
    }  # fmt: skip
    Trainer(**alone, callbacks=[watch], use_distributed_sampler=False).fit(module, datamodule=data)
    seconds = statistics.median(watch.steps[1:] or watch.steps)
    device = torch.cuda.get_device_name() if module.device.type == "cuda" else module.device.type
    memory = peak_memory(module.device) / 2**30
    print(f"measured: {len(watch.steps)} steps of {data.batch_size} images on {device}: {seconds:.3g} s a step, "
          f"{data.batch_size / seconds:.3g} images a second, at most {memory:.2f} GB of memory")  # fmt: skip
    return seconds


def _on_a_gpu(module: InpaintingModule, data: InpaintingDataModule, bf16: bool) -> Iterator[str]:
    """Lines on memory, waits and data of a step on a GPU, by a rehearsal. It leaves ``module`` on the meta device."""
    try:
        update = rehearse_step(module, data.batch_size, data.train_set.augment.size, bf16)
    except (RuntimeError, NotImplementedError) as error:  # an operation that the meta device lacks
        yield f"on a GPU: not rehearsed: {str(error).splitlines()[0]}"
        return
    waits = ", ".join(f"{place} ({count})" for place, count in update.waits.items())
    yield (f"on a GPU: tensors of {update.peak / 2**30:.3g} GB, without the libraries' work space; the host waits "
           f"for it {sum(update.waits.values())} times an update: {waits or 'nowhere'}")  # fmt: skip
    yield feeding(data, update.flops / (data.batch_size * module.accumulate))

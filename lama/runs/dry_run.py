"""Estimate a training from a few steps of it: configuration, sizes, memory and time. Writes no files."""

import statistics
import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lama.data.datamodule import InpaintingDataModule
from lama.machine.memory import peak_memory
from lama.runs.plain_progress import duration
from lama.runs.precision import BF16
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
    """Print ``config``, sizes, and time and memory of ``STEPS`` steps that train ``module``. Raises ValueError."""
    quieten_lightning()
    epochs = check_trainer(trainer)
    trainer, processes = choose_processes(trainer)
    iterations = data.batches(processes.number) * epochs
    if not processes.first:
        return
    print(config)
    print(f"precision: {trainer['precision']}")
    for line in describe(module, data, processes.number):
        print(line)
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
    several = " and the exchange between processes" if processes.number > 1 else ""
    print(_on_a_gpu(module, data, bf16=trainer["precision"] == BF16))
    print(f"estimated: {iterations} iterations in {duration(iterations * seconds)}, without validation, waiting for "
          f"images{several}")  # fmt: skip


def _on_a_gpu(module: InpaintingModule, data: InpaintingDataModule, bf16: bool) -> str:
    """A line on memory and waits of a step on a GPU, by a rehearsal. It leaves ``module`` on the meta device."""
    try:
        step = rehearse_step(module, data.batch_size, data.train_set.augment.size, bf16)
    except (RuntimeError, NotImplementedError) as error:  # an operation that the meta device lacks
        return f"on a GPU: not rehearsed: {str(error).splitlines()[0]}"
    waits = ", ".join(f"{place} ({count})" for place, count in step.waits.items())
    return (f"on a GPU: tensors of {step.peak / 2**30:.3g} GB, without the libraries' work space; the host waits "
            f"for it {sum(step.waits.values())} times an update: {waits or 'nowhere'}")  # fmt: skip

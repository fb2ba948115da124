"""Speed, data waiting time and memory of a training. They are not reproducible, so ``metrics.csv`` has none of them."""

import csv
import logging
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lama.data.datamodule import InpaintingDataModule
from lama.files import survives_a_full_disk
from lama.machine.memory import peak_memory
from lama.machine.waits import HostWaits
from lama.training.averaging import highest

logger = logging.getLogger(__name__)

RESUMED = "resumed"  # name of the row that marks a resume, for the curves
NAMES = ("speed_images_per_second", "speed_data_wait", "speed_memory_gb")
WAITS = "speed_host_waits"


class Speed(Callback):
    """Write the speed to ``speed.csv`` and the loggers every ``every`` batches.

    ``speed_images_per_second`` counts the images of all ranks. ``speed_data_wait`` is the share of time, in [0, 1],
    that this rank waited for batches. ``speed_memory_gb`` is the highest peak of all ranks in GiB: of the GPU, or
    without one of the process, without its workers. Validation and the writing of files do not count.

    A host runs ahead of its GPU, at most to the next logged batch, where it waits. So a GPU may have work while the
    host waits for a batch: ``speed_data_wait`` is then more than the GPU's own share. ``speed_host_waits`` is how often
    the host waited for the GPU in the batch after the last logged one; without a GPU there is no such row.
    """

    def __init__(self, run_dir: Path, data: InpaintingDataModule, every: int = 10) -> None:
        self.path = run_dir / "speed.csv"
        self.data = data
        self.every = every
        self.images = 0  # of this rank, since the start of the command
        self.seconds = self.waited = 0.0
        self._recent = (0, 0.0, 0.0)  # images, seconds and waited at the last report
        self._began = self._wait_began = 0.0
        self.host_waits = HostWaits()
        self._waits: int | None = None  # of the latest batch in which they were counted

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._wait_began = self.data.waited.seconds
        if trainer.is_global_zero:
            self._keep_until(int(module.iteration))  # type: ignore[arg-type]

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self._stop_counting()
        self._began = time.perf_counter()
        waited = self.data.waited.seconds - self._wait_began
        self._wait_began += waited
        self.waited += waited
        self.seconds += waited
        if module.device.type == "cuda" and int(module.iteration) % self.every == 0:  # type: ignore[arg-type]
            self.host_waits.start()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._stop_counting()

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self.host_waits.stop()

    def _stop_counting(self) -> None:
        """After the batch in which waits were counted; say where they are if they are others than before."""
        if not self.host_waits.counting:
            return
        self.host_waits.stop()
        found = self.host_waits.places
        if found.total() != self._waits:
            places = ", ".join(f"{place} ({count})" for place, count in found.items())
            logger.info("the host waited for the GPU %d times in a batch: %s", found.total(), places or "nowhere")
        self._waits = found.total()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        self.seconds += time.perf_counter() - self._began
        self.images += len(batch["image"])
        optimizers = zip(("gen", "discr"), trainer.optimizers, strict=True)
        rates = {f"train_{name}_lr": torch.tensor(one.param_groups[0]["lr"]) for name, one in optimizers}
        module.log_dict(rates)  # tensors of the host: Lightning would send numbers to the GPU, and wait
        iteration = int(module.iteration)  # type: ignore[arg-type]
        if iteration % self.every:
            return
        now = (self.images, self.seconds, self.waited)
        images, seconds, waited = (after - before for after, before in zip(now, self._recent, strict=True))
        self._recent = now
        memory = highest(peak_memory(module.device))[0] / 2**30
        values = (images * trainer.world_size / seconds, waited / seconds, memory)
        named = dict(zip(NAMES, values, strict=True)) | ({} if self._waits is None else {WAITS: float(self._waits)})
        module.log_dict(named)
        if trainer.is_global_zero:
            self._append(iteration, named)

    def summary(self, processes: int) -> dict[str, float]:
        """Means since the start of this command; {} if it has trained on nothing."""
        if not self.images:
            return {}
        return {
            "images_per_second": round(self.images * processes / self.seconds, 2),
            "data_wait": round(self.waited / self.seconds, 3),
        }

    @survives_a_full_disk("speed.csv")
    def _append(self, iteration: int, named: dict[str, float]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows((iteration, name, f"{value:.4g}") for name, value in named.items())

    @survives_a_full_disk("speed.csv")
    def _keep_until(self, iteration: int) -> None:
        """Drop the rows that a killed run has written after its last checkpoint."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines[1:] if line.count(",") == 2 and int(line.partition(",")[0]) <= iteration]
        went_on = [f"{iteration},{RESUMED},1"] if iteration else []
        self.path.write_text("\n".join(["iteration,name,value", *kept, *went_on, ""]), encoding="utf-8")

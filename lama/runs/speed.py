"""Speed, data waiting time and memory of a training. They are not reproducible, so ``metrics.csv`` has none of them."""

import csv
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lama.data.datamodule import InpaintingDataModule
from lama.files import survives_a_full_disk
from lama.machine.memory import peak_memory
from lama.training.averaging import highest

RESUMED = "resumed"  # name of the row that marks a resume, for the curves
NAMES = ("speed_images_per_second", "speed_data_wait", "speed_memory_gb")


class Speed(Callback):
    """Write the speed to ``speed.csv`` and the loggers every ``every`` batches.

    ``speed_images_per_second`` counts the images of all ranks. ``speed_data_wait`` is the share of time, in [0, 1],
    that this rank waited for batches. ``speed_memory_gb`` is the highest peak of all ranks in GiB: of the GPU, or
    without one of the process, without its workers. Validation and the writing of files do not count.
    """

    def __init__(self, run_dir: Path, data: InpaintingDataModule, every: int = 10) -> None:
        self.path = run_dir / "speed.csv"
        self.data = data
        self.every = every
        self.images = 0  # of this rank, since the start of the command
        self.seconds = self.waited = 0.0
        self._recent = (0, 0.0, 0.0)  # images, seconds and waited at the last report
        self._began = self._wait_began = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._wait_began = self.data.waited.seconds
        if trainer.is_global_zero:
            self._keep_until(int(module.iteration))  # type: ignore[arg-type]

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self._began = time.perf_counter()
        waited = self.data.waited.seconds - self._wait_began
        self._wait_began += waited
        self.waited += waited
        self.seconds += waited

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        self.seconds += time.perf_counter() - self._began  # a step ends with its GPU work, since it checks its losses
        self.images += len(batch["image"])
        optimizers = zip(("gen", "discr"), trainer.optimizers, strict=True)
        module.log_dict({f"train_{name}_lr": optimizer.param_groups[0]["lr"] for name, optimizer in optimizers})
        iteration = int(module.iteration)  # type: ignore[arg-type]
        if iteration % self.every:
            return
        now = (self.images, self.seconds, self.waited)
        images, seconds, waited = (after - before for after, before in zip(now, self._recent, strict=True))
        self._recent = now
        memory = highest(peak_memory(module.device))[0] / 2**30
        values = (images * trainer.world_size / seconds, waited / seconds, memory)
        module.log_dict(dict(zip(NAMES, values, strict=True)))
        if trainer.is_global_zero:
            self._append(iteration, values)

    def summary(self, processes: int) -> dict[str, float]:
        """Means since the start of this command; {} if it has trained on nothing."""
        if not self.images:
            return {}
        return {
            "images_per_second": round(self.images * processes / self.seconds, 2),
            "data_wait": round(self.waited / self.seconds, 3),
        }

    @survives_a_full_disk("speed.csv")
    def _append(self, iteration: int, values: tuple[float, ...]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows((iteration, n, f"{v:.4g}") for n, v in zip(NAMES, values, strict=True))

    @survives_a_full_disk("speed.csv")
    def _keep_until(self, iteration: int) -> None:
        """Drop the rows that a killed run has written after its last checkpoint."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines[1:] if line.count(",") == 2 and int(line.partition(",")[0]) <= iteration]
        went_on = [f"{iteration},{RESUMED},1"] if iteration else []
        self.path.write_text("\n".join(["iteration,name,value", *kept, *went_on, ""]), encoding="utf-8")

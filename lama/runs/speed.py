"""How fast a training goes, what it waits for, what it needs; never the same twice, and so not in ``metrics.csv``."""

import csv
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lama.data.datamodule import InpaintingDataModule
from lama.machine.memory import peak_memory
from lama.runs.disk import survives_a_full_disk
from lama.training.averaging import highest

RESUMED = "resumed"  # a row for every time that a run was continued, for the curves
NAMES = ("speed_images_per_second", "speed_data_wait", "speed_memory_gb")


class Speed(Callback):
    """Every ``every`` batches, into ``speed.csv`` and the loggers.

    ``speed_images_per_second`` counts the images of all processes, ``speed_data_wait`` is the share of the time in
    which this one waited for its next batch, ``speed_memory_gb`` the most memory that any of them has had: of the GPU,
    or of the process where there is none, workers not counted. Validation and the writing of files are left out.
    """

    def __init__(self, run_dir: Path, data: InpaintingDataModule, every: int = 10) -> None:
        self.path = run_dir / "speed.csv"
        self.data = data
        self.every = every
        self.images = 0  # of this process, over the whole training
        self.seconds = self.waited = 0.0
        self._recent = (0, 0.0, 0.0)  # the same three, at the last report
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
        self.seconds += time.perf_counter() - self._began  # a step waits for its GPU: it looks at its losses
        self.images += len(batch["image"])
        optimizers = zip(("gen", "discr"), trainer.optimizers, strict=True)
        module.log_dict({f"train_{name}_lr": optimizer.param_groups[0]["lr"] for name, optimizer in optimizers})
        iteration = int(module.iteration)  # type: ignore[arg-type]
        if iteration % self.every:
            return
        images, seconds, waited = (
            now - then for now, then in zip((self.images, self.seconds, self.waited), self._recent, strict=True)
        )
        self._recent = (self.images, self.seconds, self.waited)
        memory = highest(peak_memory(module.device))[0] / 2**30
        values = (images * trainer.world_size / seconds, waited / seconds, memory)
        module.log_dict(dict(zip(NAMES, values, strict=True)))
        if trainer.is_global_zero:
            self._append(iteration, values)

    def summary(self, processes: int) -> dict[str, float]:
        """Of all that was trained since this command began; nothing where that is nothing."""
        if not self.images:
            return {}
        return {
            "images_per_second": round(self.images * processes / self.seconds, 2),
            "data_wait": round(self.waited / self.seconds, 3),
        }

    @survives_a_full_disk("speed.csv")
    def _append(self, iteration: int, values: tuple[float, ...]) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows((iteration, n, f"{v:.4g}") for n, v in zip(NAMES, values, strict=True))

    @survives_a_full_disk("speed.csv")
    def _keep_until(self, iteration: int) -> None:
        """Drop what a run that was killed has written behind its last checkpoint."""
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        kept = [line for line in lines[1:] if line.count(",") == 2 and int(line.partition(",")[0]) <= iteration]
        went_on = [f"{iteration},{RESUMED},1"] if iteration else []
        self.path.write_text("\n".join(["iteration,name,value", *kept, *went_on, ""]))

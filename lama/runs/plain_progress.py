"""Progress as one log line a minute, for output into a file, which a progress bar would fill."""

import logging
import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

logger = logging.getLogger(__name__)


class PlainProgress(Callback):
    """Log progress, losses, speed and remaining time every ``seconds``."""

    def __init__(self, seconds: float = 60) -> None:
        self.seconds = seconds
        self.batches = self.images = 0  # since the start or resume
        self.began = self.logged = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.began = self.logged = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        self.batches += 1
        self.images += len(batch["image"]) * trainer.world_size
        now = time.monotonic()
        if not trainer.is_global_zero or now - self.logged < self.seconds:
            return
        self.logged = now
        seconds, epochs, per_epoch = now - self.began, int(trainer.max_epochs or 1), int(trainer.num_training_batches)
        left = (epochs - trainer.current_epoch) * per_epoch - batch_idx - 1
        logger.info(
            "epoch %d of %d, batch %d of %d: generator %.4g, discriminator %.4g; %.3g images a second, %s to go",
            trainer.current_epoch + 1, epochs, batch_idx + 1, per_epoch,
            *(trainer.callback_metrics.get(f"train_{name}_total", float("nan")) for name in ("gen", "discr")),
            self.images / seconds, duration(left * seconds / self.batches),
        )  # fmt: skip


def duration(seconds: float) -> str:
    """``seconds`` as text with a suitable unit, such as "2.5 hours"."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{int(size > 60)}f} {unit}"
    return f"{seconds:.0f} seconds"

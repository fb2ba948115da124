"""Warn when image files change during a training: its result then belongs to no single set of images."""

import logging

from pytorch_lightning import Callback, LightningModule, Trainer

from lama.data.datamodule import InpaintingDataModule

logger = logging.getLogger(__name__)


class SameImages(Callback):
    """After each epoch, warn once if names or sizes of image files are others than at the start of the command."""

    def __init__(self, data: InpaintingDataModule) -> None:
        self.data = data
        self.changed = False

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.changed or not trainer.is_global_zero or self.data.fingerprint_now() == self.data.fingerprint:
            return
        self.changed = True
        logger.warning("data: image files have changed or vanished since this command started; results differ from a "
                       "training on the files as they were, and as they are")  # fmt: skip

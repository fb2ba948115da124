"""Skip and count non-finite steps; after too many in a row, return to the last checkpoint."""

import logging
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lama.machine.ranks import from_rank_0, same_on_all_ranks
from lama.runs.checkpointing import identity, newest_checkpoint
from lama.training.module import InpaintingModule

logger = logging.getLogger(__name__)
ADVICE = "try lower learning rates (optimizers.generator.lr), trainer.precision=32-true, or look at the images"


class NonFiniteGuard(Callback):
    """Count skipped batches; after ``max_skipped`` in a row, load the last checkpoint.

    On a GPU batches are counted when the host reads how they ended: at a logged batch, a checkpoint or a validation.

    Weights, optimisers and averages are restored. Counters and the order of samples continue, since the same batches
    would fail again. Raises ValueError after more than ``max_returns`` returns to the same checkpoint.
    """

    def __init__(self, max_skipped: int = 10, max_returns: int = 3) -> None:
        for name, value, least in (("max_skipped", max_skipped, 1), ("max_returns", max_returns, 0)):
            if value < least:
                raise ValueError(f"faults.{name}: expected at least {least}, got {value}")
        self.max_skipped = max_skipped
        self.max_returns = max_returns
        self.skipped = self.in_a_row = self.returns = 0
        self.returned_to = -1  # iteration of the checkpoint

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, InpaintingModule)
        module.outcomes.report = self.count

    def count(self, iteration: int, fault: str) -> None:
        """Count one batch; ``fault`` is "" if it was finite."""
        if not fault:
            self.in_a_row = 0
            return
        self.skipped += 1
        self.in_a_row += 1
        logger.warning(
            "iteration %d skipped, %s (%d so far, %d in a row)", iteration, fault, self.skipped, self.in_a_row
        )

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        assert isinstance(module, InpaintingModule)
        module.log("train_skipped", torch.tensor(float(self.skipped)))  # Lightning would send a number, and wait
        # Not where a checkpoint by the clock has read the outcomes: a repeated training would return elsewhere.
        if self.in_a_row >= self.max_skipped and not module.outcomes.unread:
            self._go_back(trainer, module, f"{self.in_a_row} batches in a row had a non-finite loss or gradient")
            self.in_a_row = 0

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, InpaintingModule)
        module.outcomes.read()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.on_validation_start(trainer, module)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Return to the last checkpoint if a prediction was not finite: the weights are of no use any more."""
        if bool(module.diverged):
            self._go_back(trainer, module, "the predictions of a validation were not finite")

    def _go_back(self, trainer: Trainer, module: LightningModule, row: str) -> None:
        folder = trainer.checkpoint_callback.folder  # type: ignore[union-attr]
        newest = newest_checkpoint(folder)
        if not same_on_all_ranks(identity(newest and newest[1])):  # machines without a common disk
            newest = from_rank_0(lambda: newest)
        if newest is None:
            raise ValueError(f"training: {row}, and there is no checkpoint yet; {ADVICE}")
        path, content, notes = newest
        for note in notes:
            logger.warning(note)
        iteration = content["progress"]["iteration"]
        self.returns = self.returns + 1 if iteration == self.returned_to else 1
        self.returned_to = iteration
        if self.returns > self.max_returns:
            returns = f"faults.max_returns={self.max_returns} returns"
            raise ValueError(f"training: {row}, after {returns} to {path}; {ADVICE}")
        counted = module.iteration.clone()  # type: ignore[operator]
        trainer.strategy.load_model_state_dict(content)
        trainer.strategy.load_optimizer_state_dict(content)
        module.iteration.copy_(counted)  # type: ignore[operator]
        logger.warning("%s: returned to the weights and optimisers of iteration %d (%s)", row, iteration, path)

    def state_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("skipped", "in_a_row", "returns", "returned_to")}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        vars(self).update(state_dict)

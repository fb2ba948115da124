"""Steps that are not finite: skipped before they do harm, counted, and after too many the last checkpoint again."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lama.training.checkpointing import newest_checkpoint

logger = logging.getLogger(__name__)


class NonFiniteError(ArithmeticError):
    """A loss or a gradient norm of one of the networks is inf or nan; the message says which."""


def check_finite(name: str, loss: Tensor, gradient_norm: Tensor) -> None:
    """Raise NonFiniteError where the loss or the gradient norm is inf or nan.

    Both are means over the processes of a training: what is not finite on one of them stops the step on all.
    """
    if not (torch.isfinite(loss.detach()) & torch.isfinite(gradient_norm)):
        raise NonFiniteError(f"{name}: loss {loss.item():.3g}, gradient norm {gradient_norm.item():.3g}")


class Undo:
    """What a training step changes before it is known to be finite, as it was before.

    That is the statistics of BatchNorm of both networks, which a forward pass moves, and, where the discriminator's
    part of the step comes after the generator's update, the generator's weights and its optimiser's state. These are
    copied just before the update, when activations are gone, and let go after the step: the peak stays what it was.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        self.live: list[Tensor] = []
        self.kept: list[Tensor] = []
        self.states: dict[Any, dict[str, Any]] | None = None

    def remember(self) -> None:
        """Copy the statistics."""
        self.forget()
        self._copy([buffer for network in self.networks for buffer in network.buffers()])

    def remember_update(self, network: nn.Module, optimizer: Any) -> None:
        """Copy the weights of ``network`` and the state of its optimiser, which is about to step."""
        self.states = {parameter: dict(state) for parameter, state in optimizer.state.items()}
        tensors = [v for state in self.states.values() for v in state.values() if isinstance(v, Tensor)]
        self._copy([*network.parameters(), *tensors])

    @torch.no_grad()
    def _copy(self, live: list[Tensor]) -> None:
        kept = [torch.empty_like(tensor) for tensor in live]
        if live:
            torch._foreach_copy_(kept, live)
        self.live += live
        self.kept += kept

    def forget(self) -> None:
        """The step is good."""
        self.live, self.kept, self.states = [], [], None

    @torch.no_grad()
    def undo(self, optimizer: Any) -> None:
        """Put it back, bit for bit; ``optimizer`` is that of ``remember_update``."""
        if self.live:
            torch._foreach_copy_(self.live, self.kept)
        if self.states is not None:
            optimizer.state.clear()
            optimizer.state.update(self.states)
        self.forget()


class Faults(Callback):
    """Count the batches that were skipped; after ``max_skipped`` in a row go back to the last checkpoint.

    Weights, optimisers and averages become those of the checkpoint; counters and the order of samples go on, since the
    same batches would lead to the same place. Raises ValueError where that happens more than ``max_returns`` times
    without a new checkpoint in between.
    """

    def __init__(self, max_skipped: int = 10, max_returns: int = 3) -> None:
        for name, value, least in (("max_skipped", max_skipped, 1), ("max_returns", max_returns, 0)):
            if value < least:
                raise ValueError(f"faults.{name}: expected at least {least}, got {value}")
        self.max_skipped = max_skipped
        self.max_returns = max_returns
        self.skipped = self.in_a_row = self.returns = 0
        self.returned_to = -1  # an iteration

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        if outputs:
            self.skipped += 1
            self.in_a_row += 1
            logger.warning(
                "iteration %d skipped, %s (%d so far, %d in a row)",
                int(module.iteration), outputs["fault"], self.skipped, self.in_a_row,  # type: ignore[arg-type]
            )  # fmt: skip
        else:
            self.in_a_row = 0
        module.log("train_skipped", float(self.skipped))
        if self.in_a_row == self.max_skipped:
            self._go_back(trainer, module)
            self.in_a_row = 0

    def _go_back(self, trainer: Trainer, module: LightningModule) -> None:
        row = f"{self.max_skipped} batches in a row had a loss or gradient that is not finite"
        newest = newest_checkpoint(trainer.checkpoint_callback.folder)  # type: ignore[union-attr]
        if newest is None:
            raise ValueError(f"training: {row}, and there is no checkpoint yet; {ADVICE}")
        path, content, notes = newest
        for note in notes:
            logger.warning(note)
        iteration = content["progress"]["iteration"]
        self.returns = self.returns + 1 if iteration == self.returned_to else 1
        self.returned_to = iteration
        if self.returns > self.max_returns:
            raise ValueError(f"training: {row}, also after {self.max_returns} returns to {path}; {ADVICE}")
        counted = module.iteration.clone()  # type: ignore[operator]
        trainer.strategy.load_model_state_dict(content)
        trainer.strategy.load_optimizer_state_dict(content)
        module.iteration.copy_(counted)  # type: ignore[operator]
        logger.warning("%s: back to the weights and optimisers of iteration %d (%s)", row, iteration, path)

    def state_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("skipped", "in_a_row", "returns", "returned_to")}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        vars(self).update(state_dict)


ADVICE = "try lower learning rates (optimizers.generator.lr), trainer.precision=32-true, or a look at the pictures"

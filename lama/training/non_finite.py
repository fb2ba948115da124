"""Non-finite losses and gradients: detect them before they reach the weights, and restore the state before the step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn


class NonFiniteError(ArithmeticError):
    """A loss or a gradient norm of one of the networks is inf or nan; the message names it."""


@dataclass(frozen=True)
class Vitals:
    """Loss and gradient norm of a network before its update: scalars, averaged over the ranks."""

    network: str
    loss: Tensor
    gradient_norm: Tensor

    def finite(self) -> Tensor:
        return torch.isfinite(self.loss.detach()) & torch.isfinite(self.gradient_norm)


def check_finite(*networks: Vitals) -> None:
    """Raise NonFiniteError if one of the numbers is inf or nan. On a GPU the host waits here, once."""
    if reduce(torch.logical_and, [vitals.finite() for vitals in networks]):
        return
    for vitals in networks:
        if not vitals.finite():
            numbers = f"loss {vitals.loss.item():.3g}, gradient norm {vitals.gradient_norm.item():.3g}"
            raise NonFiniteError(f"{vitals.network}: {numbers}")


class StepSnapshot:
    """A copy of the state that a training step changes before it is known to be finite.

    This is the BatchNorm statistics of both networks, which forward passes update. In the official step, which updates
    the generator before the discriminator's losses are known, it is also the generator's weights and the state of its
    optimiser. These are copied just before the update, when activations are freed: peak memory stays the same.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        self.live: list[Tensor] = []
        self.kept: list[Tensor] = []
        self.states: dict[Any, dict[str, Any]] | None = None

    def remember(self) -> None:
        """Copy the BatchNorm statistics."""
        self.forget()
        self._copy([buffer for network in self.networks for buffer in network.buffers()])

    def remember_update(self, network: nn.Module, optimizer: Any) -> None:
        """Copy the weights of ``network`` and the state of its optimiser, before it steps."""
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
        """Free the copies after a finite step."""
        self.live, self.kept, self.states = [], [], None

    @torch.no_grad()
    def undo(self, optimizer: Any) -> None:
        """Restore the copied state, bit for bit; ``optimizer`` is the argument of ``remember_update``."""
        if self.live:
            torch._foreach_copy_(self.live, self.kept)
        if self.states is not None:
            optimizer.state.clear()
            optimizer.state.update(self.states)
        self.forget()

"""A network that takes part in a loss but not in training."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Frozen(nn.Module):
    """Hold a pretrained network out of sight of optimisers and checkpoints.

    The wrapped network moves between devices with its owner, but is no sub-module: ``parameters()``,
    ``state_dict()``, ``train()`` and DDP do not see it. (The official checkpoints carry 400 MB of such networks.)
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "network", network.eval().requires_grad_(False))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Frozen":
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Any:
        return self.network(x)

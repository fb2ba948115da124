"""A network that a loss uses and that is not trained."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Frozen(nn.Module):
    """Hide a pretrained network from optimisers and checkpoints.

    The network moves between devices with its owner, but it is not a sub-module: ``parameters()``, ``state_dict()``,
    ``train()`` and DDP do not see it. (The official checkpoints contain 400 MB of such networks.)
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "network", network.eval().requires_grad_(False))
        self._cast: dict[torch.dtype, dict[str, Tensor]] = {}

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Frozen":
        self.network._apply(fn, recurse)
        self._cast.clear()
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Any:
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            return self.network(x)
        dtype = torch.get_autocast_dtype(x.device.type)
        if dtype not in self._cast:  # autocast caches only trained weights and would cast these in every call
            self._cast[dtype] = {name: tensor.to(dtype) for name, tensor in self._of_convolutions()}
        return functional_call(self.network, self._cast[dtype], (x,))

    def _of_convolutions(self) -> Iterator[tuple[str, Tensor]]:
        for name, layer in self.network.named_modules():
            if isinstance(layer, nn.Conv2d):
                yield from ((f"{name}.{key}" if name else key, tensor) for key, tensor in layer.named_parameters())

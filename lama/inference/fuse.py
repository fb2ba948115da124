"""Stand-in for the fast equivalent of a trained generator: the interface, and the plain network behind it."""

from typing import Any

from torch import Tensor, nn


class FusedGenerator(nn.Module):
    """(B, 4, H, W) -> (B, 3, H, W), as the generator; ``forward_striped`` gives the same at low memory."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        return self.generator(x)

    def forward_striped(self, x: Tensor) -> Tensor:
        return self.generator(x)


def fuse(generator: Any, precision: str = "fp32", compiled: bool = True) -> FusedGenerator:
    """The generator, wrapped."""
    return FusedGenerator(generator)

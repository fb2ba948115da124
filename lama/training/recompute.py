"""Activation checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016) of residual blocks.

A block keeps only its input and is computed again in the backward pass: less memory, one more forward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lama.interfaces import StagedGenerator


def recompute_blocks(generator: nn.Module) -> None:
    """Recompute the residual blocks in the backward pass; same state dict. Raises ValueError without ``stages``."""
    if not isinstance(generator, StagedGenerator):
        name = type(generator).__name__
        raise ValueError(f"recipe.recompute_blocks=true: {name} has no stages(); set it to false")
    for block in generator.stages()[1]:
        block.forward = MethodType(_recomputed(type(block).forward), block)  # type: ignore[method-assign]


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def forward_or_checkpoint(self: nn.Module, x: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(self, x)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _statistics_kept(self)

        return checkpoint(forward, self, x, use_reentrant=False, context_fn=contexts)

    return forward_or_checkpoint


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Undo the second update of BatchNorm's running statistics, which the recomputation causes."""
    live = list(block.buffers())
    kept = [buffer.clone() for buffer in live]
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(live, kept)

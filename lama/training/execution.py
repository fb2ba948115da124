"""How the generator runs in training: compiled, or with activation checkpointing of its residual blocks.

With checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016) a block keeps only its input and
is computed again in the backward pass: less memory, one more forward pass.
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


def compile_generator(generator: nn.Module) -> None:
    """Compile ``generator`` at its first call, for training and for inference; its state dict stays the same.

    The discriminator is not compiled: R1 needs a second derivative, which compiled code does not support. Raises
    ValueError, in one line, if this machine cannot compile.
    """
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=next(generator.parameters()).device))
    except Exception as error:  # any layer of the compiler may raise its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"recipe.compiled=true: torch.compile does not work here ({reason}); it needs a C++ compiler (g++) on a "
            "CPU and triton on a GPU; set recipe.compiled=false"
        ) from None
    generator.compile()

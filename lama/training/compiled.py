"""``torch.compile`` for the generator."""

import torch
from torch import nn


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

"""``torch.compile`` for the network that it can compile."""

import torch
from torch import nn


def compile_generator(generator: nn.Module) -> None:
    """Compile ``generator`` when it is called first, for training and for inference; its state dict stays the same.

    Not for the discriminator: R1 needs a second derivative, which compiled code does not have. Raises
    ValueError, in one line, where this machine cannot compile.
    """
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=next(generator.parameters()).device))
    except Exception as error:  # the compiler's own, from any of its layers
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"recipe.compiled=true: torch.compile does not work here ({reason}); it needs a C++ compiler (g++) on a "
            "CPU and triton on a GPU; go on with recipe.compiled=false"
        ) from None
    generator.compile()

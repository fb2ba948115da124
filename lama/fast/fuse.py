"""The fast equivalent of a trained generator: the same function for inference, with other layers.

BatchNorm is multiplied into the convolutions, the local convolutions of an FFC are merged, tensors are channels-last,
the blocks use a compiled kernel; and the frame can be computed in chunks of rows if memory is scarce.
"""

from collections.abc import Callable

import torch
from torch import nn

from lama.fast import winograd_kernel
from lama.fast.fused_ffc import fused_ffc_resnet
from lama.fast.fused_resnet import fused_resnet
from lama.fast.winograd_kernel import Kernel
from lama.models import DilatedResNetGenerator, FFCResNetGenerator, ResNetGenerator

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}

# How to fuse a generator, by its class: (generator, dtype, kernel) -> a module with ``forward`` and
# ``forward_chunked``. Exact classes only, since a subclass may compute something else.
FUSED: dict[type[nn.Module], Callable[[nn.Module, torch.dtype, Kernel | None], nn.Module]] = {
    FFCResNetGenerator: fused_ffc_resnet,
    ResNetGenerator: fused_resnet,
    DilatedResNetGenerator: fused_resnet,
}


def can_fuse(generator: nn.Module) -> bool:
    """True if the class of ``generator`` has a fast equivalent."""
    return type(generator) in FUSED


def fuse(generator: nn.Module, precision: str = "fp32", compiled: bool = True) -> nn.Module:
    """The inference-only equivalent of ``generator``, which is in eval mode and of a class in ``FUSED``.

    It computes on the device of ``generator``, stays there and shares no tensor with it. ``precision`` applies to the
    convolutions: ``fp32`` equals the trained module to 5e-5; with ``bf16`` the residual branches and the Fourier
    transforms stay float32. ``compiled``: use the C++ kernel if this machine can build it (CPU only); results differ by
    at most 5e-5. Raises ValueError for another class, a network in training mode or an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision}: expected one of {' '.join(PRECISIONS)}")
    if not can_fuse(generator):
        known = ", ".join(kind.__name__ for kind in FUSED)
        raise ValueError(f"fuse: expected one of {known}, got {type(generator).__name__}")
    if generator.training:
        raise ValueError("fuse: expected a generator in eval mode; call .eval() first")
    with torch.no_grad():
        kernel = winograd_kernel.kernel() if compiled and next(generator.parameters()).device.type == "cpu" else None
        return FUSED[type(generator)](generator, PRECISIONS[precision], kernel)

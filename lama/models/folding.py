"""BatchNorm in eval mode, multiplied into the convolution before it, in float64.

There y = s x + t with s = weight / sqrt(running_var + eps) and t = bias - s running_mean, which a convolution absorbs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Folded(NamedTuple):
    """A convolution: weight (C_out, C_in, k, k), or (C_in, C_out, k, k) of a transposed one, and bias (C_out,)."""

    weight: Tensor  # float64
    bias: Tensor | None  # float64


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(s, t) of y = s x + t, each (C,) float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a BatchNorm without running statistics cannot be folded")
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.detach().double() - scale * norm.running_mean.double()


def fold(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d | None = None) -> Folded:
    """The convolution followed by ``norm``, as one."""
    weight = conv.weight.detach().double()
    bias = None if conv.bias is None else conv.bias.detach().double()
    if norm is None:
        return Folded(weight, bias)
    scale, shift = scale_and_shift(norm)
    shape = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    return Folded(weight * scale.view(shape), shift if bias is None else scale * bias + shift)

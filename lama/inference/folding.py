"""What is linear in a trained network and can be multiplied out beforehand, in float64.

In eval mode BatchNorm is y = s x + t with s = weight / sqrt(running_var + eps) and t = bias - s running_mean, so that
it is absorbed by the convolution before it.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lama.models.ffc import FFCBlock


class Folded(NamedTuple):
    """A convolution: weight (C_out, C_in, k, k), or (C_in, C_out, k, k) of a transposed one, and bias (C_out,)."""

    weight: Tensor  # float64
    bias: Tensor | None  # float64


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(s, t) of y = s x + t, each (C,) float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("fuse: a BatchNorm without running statistics cannot be folded")
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


def fold_branches(block: FFCBlock) -> Folded:
    """An FFC without global input: both of its output branches as one convolution, local channels first."""
    parts = []
    for conv, norm in ((block.ffc.convl2l, block.bn_l), (block.ffc.convl2g, block.bn_g)):
        if conv is not None:
            parts.append(fold(conv, norm))
    return Folded(torch.cat([part.weight for part in parts]), torch.cat([_bias(part) for part in parts]))


def fold_to_local(block: FFCBlock) -> Folded | None:
    """conv_ll(local) + conv_gl(global) as one convolution of cat(local, global); None without local channels."""
    parts = [fold(conv, block.bn_l) for conv in (block.ffc.convl2l, block.ffc.convg2l) if conv is not None]
    return Folded(torch.cat([part.weight for part in parts], 1), parts[0].bias) if parts else None


def _bias(folded: Folded) -> Tensor:
    return folded.weight.new_zeros(folded.weight.shape[0]) if folded.bias is None else folded.bias

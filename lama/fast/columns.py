"""A 7 x 7 convolution into the 3 channels of an image, computed as one convolution for each column of its kernel.

A CPU computes output channels in blocks of 16, so 3 channels cost as much as 16. Split into columns, the kernel has
7 x 3 = 21 output channels of 7 x 1. Their outputs are shifted by 0 to 6 pixels and added: the same products, summed in
another order.
"""

from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_CHANNELS, LEAST_KERNEL = 4, 5  # for these layers it is faster


def use_columns(network: nn.Module) -> None:
    """Split the wide convolutions of ``network`` into few channels by columns on a CPU; same state dict."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and _is_wide(layer):
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]


def _is_wide(layer: nn.Conv2d) -> bool:
    plain = layer.stride == layer.dilation == (1, 1) and layer.padding == (0, 0) and layer.groups == 1
    return plain and layer.kernel_size[1] >= LEAST_KERNEL and layer.out_channels <= MOST_CHANNELS


def _forward(self: nn.Conv2d, x: Tensor) -> Tensor:
    if x.device.type != "cpu" or not self.training:
        return nn.Conv2d.forward(self, x)
    return by_columns(x, self.weight, self.bias)


def by_columns(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, C, H, W), (O, C, h, w) -> (B, O, H - h + 1, W - w + 1); the sum is at least float32, also under autocast."""
    total = add_columns(F.conv2d(x, split_columns(weight)), weight.shape[3])
    return total if bias is None else total + bias.view(1, -1, 1, 1)


def split_columns(weight: Tensor) -> Tensor:
    """(O, C, h, w) -> (w O, C, h, 1): every column as a kernel of its own, column by column."""
    channels, inputs, height, columns = weight.shape
    return weight.permute(3, 0, 1, 2).reshape(columns * channels, inputs, height, 1)


def add_columns(parts: Tensor, columns: int) -> Tensor:
    """(B, w O, H, W) of ``split_columns`` weights -> their shifted sum (B, O, H, W - w + 1), at least float32."""
    parts = parts.unflatten(1, (columns, -1))
    width = parts.shape[4] - columns + 1
    total = parts[:, 0, :, :, :width].to(torch.promote_types(parts.dtype, torch.float32))
    for column in range(1, columns):
        total = total + parts[:, column, :, :, column : column + width]
    return total

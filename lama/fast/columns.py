"""The convolution that paints the image, 7 x 7 into 3 channels, column by column of its kernel.

A CPU computes channels in blocks of 16, so that 3 cost as much. Here the 7 columns of the kernel are 7 kernels of one
column, whose 21 channels fill the blocks, and a sum over what they give 0 to 6 pixels further right: the same sums of
products, in another order.
"""

from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_CHANNELS, LEAST_KERNEL = 4, 5  # where it is faster


def use_columns(network: nn.Module) -> None:
    """Let the wide convolutions of ``network`` into few channels compute so on a CPU; same state dict."""
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
    """(B, C, H, W), (O, C, h, w) -> (B, O, H - h + 1, W - w + 1); under autocast the last sum is float32."""
    channels, _, height, columns = weight.shape
    parts = F.conv2d(x, weight.permute(3, 0, 1, 2).reshape(columns * channels, -1, height, 1))
    parts = parts.unflatten(1, (columns, channels))
    width = x.shape[3] - columns + 1
    total = parts[:, 0, :, :, :width].to(torch.promote_types(parts.dtype, torch.float32))
    for column in range(1, columns):
        total = total + parts[:, column, :, :, column : column + width]
    return total if bias is None else total + bias.view(1, -1, 1, 1)

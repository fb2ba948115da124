"""Convolutions of a fused network: normalisation is in the weights, ReLU and sums are inside where the CPU can."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.inference import onednn
from lama.inference.folding import Folded

CHANNELS_LAST = torch.channels_last


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=CHANNELS_LAST)


class Conv(nn.Module):
    """A folded convolution without padding: (B, C_in, H, W) channels-last -> (B, C_out, H', W').

    It stays on the device it was made on, since weights in oneDNN's own layout cannot be moved.
    """

    def __init__(
        self, folded: Folded, dtype: torch.dtype = torch.float32, stride: int = 1, dilation: int = 1, relu: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.dilation, self.relu, self.dtype = stride, dilation, relu, dtype
        self.kernel = folded.weight.shape[2]
        weight = channels_last(folded.weight.to(dtype))
        self.packed = weight.device.type == "cpu" and onednn.usable(dtype)
        # plain attributes, not buffers: a fused network has no state dict, the trained one has
        self.weight = onednn.pack(weight, stride, dilation) if self.packed else weight
        self.bias = None if folded.bias is None else folded.bias.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.packed:
            return onednn.conv(x, self.weight, self.bias, self.stride, self.dilation, self.relu)
        out = F.conv2d(x, self.weight, self.bias, self.stride, dilation=self.dilation)
        return out.relu_() if self.relu else out

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """total + conv(x), then ReLU if ``relu``; ``total`` is overwritten and keeps its dtype."""
        x = x.to(self.dtype)
        if not self.packed:
            total += F.conv2d(x, self.weight, self.bias, self.stride, dilation=self.dilation)
        elif total.dtype == self.dtype:
            return onednn.add_conv_(total, x, self.weight, self.bias, self.stride, self.dilation, self.relu)
        else:
            total += onednn.conv(x, self.weight, self.bias, self.stride, self.dilation, relu=False)
        return total.relu_() if self.relu else total


class TransposedConv(nn.Module):
    """3 x 3, stride 2, ReLU: (B, C_in, H, W) -> (B, C_out, 2 H, 2 W)."""

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.dtype = channels_last(folded.weight.to(dtype)), dtype
        self.bias = None if folded.bias is None else folded.bias.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        out = F.conv_transpose2d(x.to(self.dtype), self.weight, self.bias, stride=2, padding=1, output_padding=1)
        return out.relu_()


class Head(nn.Module):
    """The last 7 x 7 convolution and the sigmoid: padded (B, C, H + 6, W + 6) -> (B, output_nc, H, W) float32.

    With so few output channels a CPU's vector units would idle. So the convolution is made 7 x 1 with 7 x output_nc
    outputs, one set for each column of the kernel, which are then added with their shifts: 3 to 4 times as fast.
    """

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = folded
        self.split = weight.device.type == "cpu"
        c_out, c_in, k, _ = weight.shape
        self.out, self.kernel = c_out, k
        if self.split:
            weight = weight.permute(3, 0, 1, 2).reshape(k * c_out, c_in, k, 1)
        self.conv = Conv(Folded(weight, None), dtype)
        self.bias = torch.zeros(c_out) if bias is None else bias.float().view(-1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x)
        if not self.split:
            return (z.float() + self.bias).sigmoid_()
        width = z.shape[3] - self.kernel + 1
        total = z[:, : self.out, :, :width].float() + self.bias
        for i in range(1, self.kernel):
            total += z[:, i * self.out : (i + 1) * self.out, :, i : i + width]
        return total.sigmoid_()

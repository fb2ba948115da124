"""Convolutions of a fused network: their weights contain the BatchNorm, their tensors are channels-last."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.models.folding import Folded

CHANNELS_LAST = torch.channels_last


def channels_last(x: Tensor) -> Tensor:
    """``x`` in the memory format channels-last; itself if it is so already."""
    return x.contiguous(memory_format=CHANNELS_LAST)


def planes_first(x: Tensor) -> Tensor:
    """Channels-last -> contiguous, as the FFT needs it; one matrix transposition for each image."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2).contiguous().view(x.shape)


def pixels_first(x: Tensor) -> Tensor:
    """Contiguous -> channels-last, the inverse of ``planes_first``; for complex numbers as well."""
    return x.flatten(2).transpose(1, 2).contiguous().unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class Conv(nn.Module):
    """A folded convolution: (B, C_in, H, W) channels-last -> (B, C_out, H', W') channels-last."""

    def __init__(
        self, folded: Folded, dtype: torch.dtype = torch.float32, stride: int = 1, dilation: int = 1, relu: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.dilation, self.relu, self.dtype = stride, dilation, relu, dtype
        self.kernel = folded.weight.shape[2]
        # plain attributes, not buffers: a fused network has no state dict
        self.weight = channels_last(folded.weight.to(dtype))
        self.bias = None if folded.bias is None else folded.bias.to(dtype)

    def forward(self, x: Tensor, padding: tuple[int, int] = (0, 0)) -> Tensor:
        """``padding``: rows and columns of zeros, above and below, left and right."""
        out = F.conv2d(x.to(self.dtype), self.weight, self.bias, self.stride, padding, self.dilation)
        return out.relu_() if self.relu else out

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """total + conv(x) at stride 1, then ReLU if ``relu``; ``total`` is overwritten and keeps its dtype."""
        total += F.conv2d(x.to(self.dtype), self.weight, self.bias, dilation=self.dilation)
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

    def reads(self, first: int, last: int, size: int) -> tuple[int, int]:
        """The input rows for output rows [first, last): row y reads y / 2 if even, else (y - 1) / 2 and (y + 1) / 2."""
        return first // 2, min(last // 2 + 1, size)

    def rows(self, x: Tensor, first: int, last: int, size: int) -> Tensor:
        """Output rows [first, last) of an input of ``size`` rows; ``x`` holds the rows ``reads(first, last, size)``."""
        start = 2 * self.reads(first, last, size)[0]
        return self(x)[:, :, first - start : last - start]

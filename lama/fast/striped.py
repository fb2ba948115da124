"""Encoder and decoder that compute any rows of their output from just the rows of the input these depend on.

Outside the bottleneck there are only convolutions of kernel 7, 3 and 2 x 3, so that a stripe of the output needs a
stripe of the input that is a few rows taller. At the borders of the image a stripe is padded as the whole would be,
elsewhere it is not padded: the numbers are those of the whole.

What that takes of memory, and when it is done, is in ``memory``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.fast.fused_layers import Conv, TransposedConv, channels_last
from lama.models.folding import Folded

STRIPE_PIXELS = 1 << 17  # of the image, in a stripe: at 64 channels in float32 32 MB for each copy of it


class Span(NamedTuple):
    """Rows (or columns) [first, last) of an input, and how many lie beyond its borders and are made up by padding."""

    first: int
    last: int
    before: int
    after: int


def span_of(first: int, last: int, kernel: int, stride: int, padding: int, size: int) -> Span:
    """What a convolution with this ``padding`` reads of ``size`` rows, for its output rows [first, last)."""
    start, stop = first * stride - padding, (last - 1) * stride - padding + kernel
    return Span(max(start, 0), min(stop, size), max(-start, 0), max(stop - size, 0))


class PaddedConv(nn.Module):
    """A convolution and the padding before it, "reflect" or "constant" (zeros).

    A padded copy of the input costs as much as half the convolution where channels are few. So the convolution pads
    with zeros, which is free, and where that is not what was asked for the border is computed once more.
    """

    def __init__(self, conv: Conv, mode: str = "reflect") -> None:
        super().__init__()
        self.conv, self.mode = conv, mode
        self.padding = conv.kernel // 2

    def size(self, size: int) -> int:
        """Output rows for ``size`` input rows."""
        return -(-size // self.conv.stride)

    def span(self, first: int, last: int, size: int) -> Span:
        return span_of(first, last, self.conv.kernel, self.conv.stride, self.padding, size)

    def forward(self, x: Tensor, rows: Span) -> Tensor:
        """``x`` holds the rows [rows.first, rows.last) of the input, at full width."""
        columns = self.span(0, self.size(x.shape[3]), x.shape[3])
        if self.conv.stride == 1 or rows.after or columns.after:
            return self._padded(x, columns, rows)
        out = self.conv(channels_last(x), (rows.before, columns.before))
        if self.mode == "reflect":
            # two columns, of which one is needed: oneDNN's bf16 convolutions of stride 2 to a single one read memory
            # that nobody has written (torch 2.13, AMX)
            out[..., :1] = self._padded(x[..., :4], columns, rows)[..., :1]
            if rows.before:
                out[:, :, :1] = self._padded(x[:, :, :2], columns, rows)
        return out

    def _padded(self, x: Tensor, columns: Span, rows: Span) -> Tensor:
        padding = (columns.before, columns.after, rows.before, rows.after)
        return self.conv(channels_last(F.pad(x, padding, mode=self.mode)))


class Head(nn.Module):
    """The last convolution, 7 x 7 with reflected borders, and the sigmoid: (B, C, H, W) -> (B, output_nc, H, W).

    With so few output channels a CPU's vector units would idle. So there the convolution is made 7 x 1 with
    7 x output_nc outputs, one set for each column of the kernel, which are then added with their shifts. Padding is as
    in ``PaddedConv``, and to the sides it is done on the outputs, which are fewer.
    """

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = folded
        c_out, c_in, k, _ = weight.shape
        self.out, self.kernel, self.padding = c_out, k, k // 2
        self.split = weight.device.type == "cpu"
        if self.split:
            weight = weight.permute(3, 0, 1, 2).reshape(k * c_out, c_in, k, 1)
        self.conv = Conv(Folded(weight, None), dtype)
        self.bias = (weight.new_zeros(c_out) if bias is None else bias).float().view(-1, 1, 1)

    def span(self, first: int, last: int, size: int) -> Span:
        return span_of(first, last, self.kernel, 1, self.padding, size)

    def forward(self, x: Tensor, rows: Span) -> Tensor:
        """float32 in [0, 1]; ``x`` holds the rows [rows.first, rows.last) of the input, at full width."""
        p, width = self.padding, x.shape[3]
        if not self.split:
            x = F.pad(x, (p, p, rows.before, rows.after), mode="reflect")
            return (self.conv(channels_last(x)).float() + self.bias).sigmoid_()
        z = F.pad(self._columns(channels_last(x), rows).float(), (p, p, 0, 0), mode="reflect")
        total = z[:, : self.out, :, :width] + self.bias
        for i in range(1, self.kernel):
            total += z[:, i * self.out : (i + 1) * self.out, :, i : i + width]
        return total.sigmoid_()

    def _columns(self, x: Tensor, rows: Span) -> Tensor:
        """The 7 x 1 convolution, (B, 7 output_nc, rows, W)."""
        p, near = self.padding, 2 * self.padding  # rows that the outermost outputs reach
        if x.shape[2] < near:
            return self.conv(channels_last(F.pad(x, (0, 0, rows.before, rows.after), mode="reflect")))
        out = self.conv(x, (p, 0))
        if rows.before:
            out[:, :, :p] = self.conv(channels_last(F.pad(x[:, :, :near], (0, 0, p, 0), mode="reflect")))
        if rows.after:
            out[:, :, -p:] = self.conv(channels_last(F.pad(x[:, :, -near:], (0, 0, 0, p), mode="reflect")))
        return out[:, :, p - rows.before : out.shape[2] - (p - rows.after)]


class Encoder(nn.Module):
    """(B, C, H, W) -> (B, C', h, w): the convolutions that lead down to the bottleneck."""

    def __init__(self, layers: Sequence[PaddedConv]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def sizes(self, height: int) -> list[int]:
        """Rows before the first layer and after each."""
        sizes = [height]
        for layer in self.layers:
            sizes.append(layer.size(sizes[-1]))  # type: ignore[operator]
        return sizes

    def forward(self, x: Tensor, first: int, last: int) -> Tensor:
        """Rows [first, last) of the output; ``x`` is the whole input."""
        spans: list[Span] = []
        for layer, size in zip(reversed(self.layers), self.sizes(x.shape[2])[-2::-1], strict=True):
            spans.insert(0, layer.span(first, last, size))  # type: ignore[operator]
            first, last = spans[0].first, spans[0].last
        x = x[:, :, first:last].to(self.layers[0].conv.dtype)  # type: ignore[union-attr, arg-type]
        x = channels_last(x)
        for layer, span in zip(self.layers, spans, strict=True):
            x = layer(x, span)
        return x


class Decoder(nn.Module):
    """(B, C', h, w) -> (B, output_nc, 2^n h, 2^n w) in [0, 1]: transposed convolutions and the head."""

    def __init__(self, ups: Sequence[TransposedConv], head: Head) -> None:
        super().__init__()
        self.ups, self.head = nn.ModuleList(ups), head

    def rows(self, first: int, last: int, height: int) -> tuple[int, int]:
        """Which of the ``height`` rows of the input the rows [first, last) of the output depend on."""
        spans, _ = self._spans(first, last, height)
        return spans[0]

    def _spans(self, first: int, last: int, height: int) -> tuple[list[tuple[int, int]], Span]:
        """Rows of the input of each layer, finest last, and what the head pads."""
        n = len(self.ups)
        head = self.head.span(first, last, height << n)
        spans = [(head.first, head.last)]
        for i in reversed(
            range(n)
        ):  # output row y of a transposed convolution reads y / 2, or (y - 1) / 2 and the next
            first, last = spans[0]
            spans.insert(0, (first // 2, min(last // 2 + 1, height << i)))
        return spans, head

    def forward(self, x: Tensor, first: int, last: int, height: int) -> Tensor:
        """Rows [first, last) of the output; ``x`` holds the rows ``self.rows(first, last, height)`` of the input."""
        spans, head = self._spans(first, last, height)
        for up, (start, _), (wanted, stop) in zip(self.ups, spans, spans[1:], strict=False):
            x = up(x)[:, :, wanted - 2 * start : stop - 2 * start]
        return self.head(x, head)


def stripes(total: int, rows: int) -> list[tuple[int, int]]:
    """[first, last) of ``total`` rows, ``rows`` at a time."""
    return [(first, min(first + rows, total)) for first in range(0, total, rows)]

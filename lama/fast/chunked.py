"""Encoder and decoder of a fused network; both can compute a few rows of their output from a few rows of their input.

Outside the blocks there are only convolutions of kernel 7 and 3, so a chunk of output rows needs a chunk of input rows
that is a few rows taller. A chunk is padded at the borders of the image only, and equals the same rows of the whole.
``lama.inference.peak`` estimates the memory this takes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.fast.columns import add_columns, split_columns
from lama.fast.fused_layers import Conv, TransposedConv, channels_last
from lama.models.folding import Folded


class Span(NamedTuple):
    """Rows (or columns) [first, last) of an input, and the number of padded ones before and after them."""

    first: int
    last: int
    before: int
    after: int


def span_of(first: int, last: int, kernel: int, stride: int, padding: int, size: int) -> Span:
    """The part of ``size`` input rows that a convolution reads for its output rows [first, last)."""
    start, stop = first * stride - padding, (last - 1) * stride - padding + kernel
    return Span(max(start, 0), min(stop, size), max(-start, 0), max(stop - size, 0))


class PaddedConv(nn.Module):
    """A convolution and the padding before it, "reflect" or "constant" (zeros).

    If channels are few, copying the input into a padded tensor takes half as long as the convolution. A strided
    convolution therefore pads with zeros itself, without a copy. If borders are reflected, its first row and column
    are then computed again, from a padded copy of the few pixels they read.
    """

    def __init__(self, conv: Conv, mode: str = "reflect") -> None:
        super().__init__()
        self.conv, self.mode = conv, mode
        self.padding = conv.kernel // 2

    def size(self, size: int) -> int:
        """Output rows for ``size`` input rows."""
        return -(-size // self.conv.stride)

    def span(self, first: int, last: int, size: int) -> Span:
        """The input rows for output rows [first, last)."""
        return span_of(first, last, self.conv.kernel, self.conv.stride, self.padding, size)

    def forward(self, x: Tensor, rows: Span) -> Tensor:
        """``x`` holds the rows [rows.first, rows.last) of the input, at full width."""
        columns = self.span(0, self.size(x.shape[3]), x.shape[3])
        if self.conv.stride == 1 or rows.after or columns.after:
            return self._padded(x, rows, columns)
        out = self.conv(channels_last(x), (rows.before, columns.before))
        if self.mode == "reflect":
            # Two columns, one is used: in bfloat16 a single one reads uninitialised memory (oneDNN, torch 2.13, AMX).
            out[..., :1] = self._padded(x[..., :4], rows, columns)[..., :1]
            if rows.before:
                out[:, :, :1] = self._padded(x[:, :, :2], rows, columns)
        return out

    def _padded(self, x: Tensor, rows: Span, columns: Span) -> Tensor:
        padding = (columns.before, columns.after, rows.before, rows.after)
        return self.conv(channels_last(F.pad(x, padding, mode=self.mode)))


class Head(nn.Module):
    """The last convolution, 7 x 7 with reflected borders, and the sigmoid: (B, C, H, W) -> (B, output_nc, H, W).

    On a CPU it is computed by the columns of its kernel (``columns.py``). There, too, the convolution pads with zeros
    and the rows at the border are computed again; the outputs of the columns, which have fewer channels than the input,
    are padded to the left and right.
    """

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = folded
        self.kernel, self.padding = weight.shape[2], weight.shape[2] // 2
        self.split = weight.device.type == "cpu"
        self.conv = Conv(Folded(split_columns(weight) if self.split else weight, None), dtype)
        self.bias = (weight.new_zeros(len(weight)) if bias is None else bias).float().view(-1, 1, 1)

    def span(self, first: int, last: int, size: int) -> Span:
        """The input rows for output rows [first, last)."""
        return span_of(first, last, self.kernel, 1, self.padding, size)

    def forward(self, x: Tensor, rows: Span) -> Tensor:
        """float32 in [0, 1]; ``x`` holds the rows [rows.first, rows.last) of the input, at full width."""
        p = self.padding
        if not self.split:
            out = self.conv(channels_last(F.pad(x, (p, p, rows.before, rows.after), mode="reflect"))).float()
        else:
            parts = self._column_outputs(channels_last(x), rows).float()
            out = add_columns(F.pad(parts, (p, p, 0, 0), mode="reflect"), self.kernel)
        return (out + self.bias).sigmoid_()

    def _column_outputs(self, x: Tensor, rows: Span) -> Tensor:
        """The 7 x 1 convolution, (B, 7 output_nc, rows, W)."""
        p, reach = self.padding, 2 * self.padding  # the outermost p outputs read as many rows as ``reach``
        if x.shape[2] < reach:
            return self.conv(channels_last(F.pad(x, (0, 0, rows.before, rows.after), mode="reflect")))
        out = self.conv(x, (p, 0))
        if rows.before:
            out[:, :, :p] = self.conv(channels_last(F.pad(x[:, :, :reach], (0, 0, p, 0), mode="reflect")))
        if rows.after:
            out[:, :, -p:] = self.conv(channels_last(F.pad(x[:, :, -reach:], (0, 0, 0, p), mode="reflect")))
        return out[:, :, p - rows.before : out.shape[2] - (p - rows.after)]


class ResizedConv(nn.Module):
    """3 x 3 with reflected borders, bilinear interpolation, ReLU: (B, C_in, H, W) -> (B, C_out, 2 H, 2 W)."""

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = PaddedConv(Conv(folded, dtype))

    @staticmethod
    def _interpolated(first: int, last: int, size: int) -> tuple[int, int]:
        """The rows of the convolution's output that interpolation reads: one more on each side."""
        return max((first - 1) // 2, 0), min(last // 2 + 1, size)

    def reads(self, first: int, last: int, size: int) -> tuple[int, int]:
        """The part of ``size`` input rows for output rows [first, last)."""
        span = self.conv.span(*self._interpolated(first, last, size), size)
        return span.first, span.last

    def rows(self, x: Tensor, first: int, last: int, size: int) -> Tensor:
        """Output rows [first, last) of an input of ``size`` rows; ``x`` holds the rows ``reads(first, last, size)``."""
        low, high = self._interpolated(first, last, size)
        x = self.conv(x, self.conv.span(low, high, size))
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False).relu_()
        return x[:, :, first - 2 * low : last - 2 * low]


class Encoder(nn.Module):
    """(B, C, H, W) -> (B, C', h, w): the convolutions before the blocks."""

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
        x = channels_last(x[:, :, first:last].to(self.layers[0].conv.dtype))  # type: ignore[union-attr, arg-type]
        for layer, span in zip(self.layers, spans, strict=True):
            x = layer(x, span)
        return x


class Decoder(nn.Module):
    """(B, C', h, w) -> (B, output_nc, 2^n h, 2^n w) in [0, 1]: n upsampling layers and the head."""

    def __init__(self, ups: Sequence[TransposedConv | ResizedConv], head: Head) -> None:
        super().__init__()
        self.ups, self.head = nn.ModuleList(ups), head

    def rows(self, first: int, last: int, height: int) -> tuple[int, int]:
        """The part of ``height`` input rows that the output rows [first, last) depend on."""
        return self._spans(first, last, height)[0][0]

    def _spans(self, first: int, last: int, height: int) -> tuple[list[tuple[int, int]], Span]:
        """The input rows of every layer, coarsest first, and the span of the head, which is the last of them."""
        head = self.head.span(first, last, height << len(self.ups))
        spans = [(head.first, head.last)]
        for level in reversed(range(len(self.ups))):
            spans.insert(0, self.ups[level].reads(*spans[0], height << level))  # type: ignore[operator]
        return spans, head

    def forward(self, x: Tensor, first: int, last: int, height: int) -> Tensor:
        """Rows [first, last) of the output; ``x`` holds the rows ``self.rows(first, last, height)`` of the input."""
        spans, head = self._spans(first, last, height)
        for level, up in enumerate(self.ups):
            x = up.rows(x, *spans[level + 1], height << level)  # type: ignore[operator]
        return self.head(x, head)


def chunks(total: int, rows: int) -> list[tuple[int, int]]:
    """[first, last) of ``total`` rows, ``rows`` at a time."""
    return [(first, min(first + rows, total)) for first in range(0, total, rows)]

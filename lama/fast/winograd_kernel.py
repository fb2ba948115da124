"""``winograd.cpp`` from Python: convolutions of 3 x 3 on a CPU in float32 by Winograd's F(4x4, 3x3), and gradients.

Images are (B, C, H, W), channels-last. A convolution may read two images side by side, and one call may compute
several convolutions, each of which reads the first channels of what there is: an FFC is one call.
"""

import ctypes
import functools
import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lama.fast import native
from lama.fast.fused_layers import CHANNELS_LAST, channels_last

logger = logging.getLogger(__name__)

SCRATCH = 5_000_000  # floats: what the last cache level of a desktop holds


def _structure(name: str, pointers: str = "", numbers: str = "", **parts: Any) -> type[ctypes.Structure]:
    fields = [(key, ctypes.c_void_p) for key in pointers.split()] + list(parts.items())
    return type(name, (ctypes.Structure,), {"_fields_": fields + [(key, ctypes.c_int64) for key in numbers.split()]})


_Input = _structure("_Input", "x0 x1", "c0 c1 images height width step wider reflected")
_Output = _structure("_Output", "weights bias before after y", "channels inputs")
_Weights = _structure("_Weights", "w", "outputs inputs output_stride input_stride y_stride x_stride")
_Gradient = _structure("_Gradient", "dy", w=_Weights)


@dataclass
class Convolution:
    """One of a call: y = ReLU(conv(x) + bias + before) + after, where the ReLU, and what is None, are left out."""

    points: Tensor  # what ``Kernel.points`` made of its weights
    channels: int  # that it writes
    bias: Tensor | None = None
    before: Tensor | None = None  # overwritten with y
    after: Tensor | None = None  # overwritten with y


class Kernel:
    """The functions of the compiled library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.panel = int(library.lama_winograd_panel())
        self._kept = threading.local()

    def points(self, *weights: Tensor, turned: bool = False) -> Tensor:
        """U of (O, I, 3, 3) weights, side by side in their inputs: (36, O / panel, sum of I, panel), filled up.

        ``turned``: of the convolution that is the gradient of the input, where outputs are inputs.
        """
        points = torch.empty(self._shape(weights, turned))
        self._write_points(points, weights, turned)
        return points

    def points_for_now(self, *groups: Sequence[Tensor], turned: bool = False) -> list[Tensor]:
        """``points`` of each group, in memory that the next call uses again: training changes weights every time."""
        shapes = [self._shape(weights, turned) for weights in groups]
        pieces = self._memory("points", sum(math.prod(shape) for shape in shapes)).split([math.prod(s) for s in shapes])
        results = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        for points, weights in zip(results, groups, strict=True):
            self._write_points(points, weights, turned)
        return results

    def _shape(self, weights: Sequence[Tensor], turned: bool) -> tuple[int, int, int, int]:
        inputs, outputs = int(not turned), int(turned)
        channels = weights[0].shape[outputs]
        return 36, -(-channels // self.panel), sum(weight.shape[inputs] for weight in weights), self.panel

    def _write_points(self, points: Tensor, weights: Sequence[Tensor], turned: bool) -> None:
        first, depth = 0, points.shape[2]
        for weight in (weight.detach().float() for weight in weights):
            described = _describe(weight, turned)
            self.library.lama_winograd_weights(
                ctypes.byref(described), _pointer(points), *_numbers(depth, first, torch.get_num_threads())
            )
            first += described.inputs

    def _memory(self, name: str, size: int) -> Tensor:
        """So many floats, kept for the next call in this thread: what is new to the system costs more than it holds."""
        kept = getattr(self._kept, name, None)
        if kept is None or len(kept) < size:
            kept = torch.empty(size)
            setattr(self._kept, name, kept)
        return kept[:size]

    def convolve(
        self, parts: Sequence[Tensor], convolutions: Sequence[Convolution], *, relu: bool = False,
        dilation: int = 1, reflected: bool = True, wider: bool = False,
    ) -> list[Tensor]:  # fmt: skip
        """One image for each convolution, of the size of the input, or with one pixel more all around (``wider``).

        Beyond its border the input is ``reflected`` (needs H and W of 2), or zero.
        """
        parts = [floats(part) for part in parts]
        batch, _, height, width = parts[0].shape
        results, outputs = [], (_Output * len(convolutions))()
        for i, conv in enumerate(convolutions):
            before, y = None if conv.before is None else floats(conv.before), conv.after
            assert y is None or (y.dtype == torch.float32 and y.is_contiguous(memory_format=CHANNELS_LAST))
            if y is None:
                y = before if before is not None else torch.empty(
                    (batch, conv.channels, height + 2 * wider, width + 2 * wider), memory_format=CHANNELS_LAST
                )  # fmt: skip
            pointers = [_pointer(t) for t in (conv.points, conv.bias, before, conv.after, y)]
            outputs[i] = _Output(*pointers, conv.channels, conv.points.shape[2])
            results.append(y)
        image = _input(parts, dilation, reflected, wider)
        scratch, stride, chunk = self._scratch(image, [conv.channels for conv in convolutions])
        self.library.lama_winograd(
            ctypes.byref(image), outputs, *_numbers(len(outputs), int(relu)), _pointer(scratch),
            *_numbers(stride, chunk, torch.get_num_threads()),
        )  # fmt: skip
        return results

    def weight_gradients(self, parts: Sequence[Tensor], gradients: Sequence[Tensor], inputs: Sequence[int],
                         *, dilation: int = 1, reflected: bool = True) -> list[Tensor]:  # fmt: skip
        """(O, inputs, 3, 3), channels-last, of convolutions that read so many ``inputs`` of ``parts``.

        ``gradients``, (B, O, H, W) each, are those of their outputs.
        """
        parts, gradients = [floats(part) for part in parts], [floats(gradient) for gradient in gradients]
        results, outputs = [], (_Gradient * len(gradients))()
        for i, (gradient, n) in enumerate(zip(gradients, inputs, strict=True)):
            weight = torch.empty((gradient.shape[1], n, 3, 3), memory_format=CHANNELS_LAST)
            outputs[i] = _Gradient(_pointer(gradient), _describe(weight))
            results.append(weight)
        image = _input(parts, dilation, reflected)
        scratch, _, chunk = self._scratch(image, [gradient.shape[1] for gradient in gradients])
        self.library.lama_winograd_gradient(
            ctypes.byref(image), outputs, *_numbers(len(outputs)), _pointer(scratch),
            *_numbers(chunk, torch.get_num_threads()),
        )  # fmt: skip
        return results

    def _scratch(self, image: Any, channels: Sequence[int]) -> tuple[Tensor, int, int]:
        """Memory, the distance of two tiles in it, and how many tiles it holds."""
        stride = -(-(image.c0 + image.c1) // 16) * 16 + 16  # the extra keeps rows off the same cache lines
        per_tile = 36 * (stride + sum(-(-n // self.panel) * self.panel for n in channels))
        down, across = (-(-(size + 2 * image.wider) // (4 * image.step)) for size in (image.height, image.width))
        tiles = image.images * image.step**2 * down * across
        chunk = max(1, min(tiles, SCRATCH // per_tile))
        return self._memory("scratch", per_tile * chunk), stride, chunk


@functools.cache
def kernel() -> Kernel | None:
    """The compiled kernel, after it has shown on a small image that it is right; None where it cannot be had."""
    library = native.load("winograd")
    if library is None:
        return None
    found = Kernel(library)
    error = _error(found)
    if not error < 1e-5:
        logger.warning("winograd: the compiled kernel is off by %.1e on this machine, computing without it", error)
        return None
    return found


@torch.no_grad()
def _error(kernel: Kernel) -> float:
    """Of a small case, relative to the largest value of torch's convolution in float64."""
    generator = torch.Generator().manual_seed(0)
    x0, x1, weight, bias, before, after = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in [(2, 5, 6, 9), (2, 19, 6, 9), (35, 24, 3, 3), (35,), (2, 35, 6, 9), (2, 35, 6, 9)]
    )
    padded = F.pad(torch.cat([x0, x1], dim=1), (1, 1, 1, 1), mode="reflect")
    expected = (F.conv2d(padded, weight, bias) + before).relu() + after
    points = kernel.points(weight.float())
    conv = Convolution(points, 35, bias.float(), floats(before), floats(after))
    (got,) = kernel.convolve([x0, x1], [conv], relu=True)
    return ((got - expected).abs().max() / expected.abs().max()).item()


def floats(x: Tensor) -> Tensor:
    """``x`` in float32, channels-last; itself, where it is that already."""
    return channels_last(x.float())


def _input(parts: Sequence[Tensor], dilation: int, reflected: bool, wider: bool = False) -> Any:
    c0, c1 = parts[0].shape[1], parts[1].shape[1] if len(parts) > 1 else 0
    batch, _, height, width = parts[0].shape
    pointers = _pointer(parts[0]), _pointer(parts[1] if c1 else None)
    return _Input(*pointers, c0, c1, batch, height, width, dilation, wider, reflected)


def _describe(weight: Tensor, turned: bool = False) -> Any:
    (outputs, inputs), strides = weight.shape[:2], weight.stride()
    if not turned:
        return _Weights(_pointer(weight), outputs, inputs, *strides)
    last = ctypes.c_void_p(weight.data_ptr() + 4 * 2 * (strides[2] + strides[3]))
    return _Weights(last, inputs, outputs, strides[1], strides[0], -strides[2], -strides[3])


def _numbers(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())

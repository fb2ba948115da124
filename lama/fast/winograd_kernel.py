"""``winograd.cpp`` from Python: 3 x 3 convolutions and their gradients by Winograd's F(4x4, 3x3), on a CPU in float32.

Images are (B, C, H, W), channels-last. The input may be two images; their channels are concatenated. One call may
compute several convolutions, each of which reads the first channels of the input: an FFC is one call.
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
from lama.machine.device import scattered

logger = logging.getLogger(__name__)

SCRATCH = 5_000_000  # floats; fits into the last cache level of a desktop


def _structure(name: str, pointers: str = "", numbers: str = "", **parts: Any) -> type[ctypes.Structure]:
    fields = [(key, ctypes.c_void_p) for key in pointers.split()] + list(parts.items())
    return type(name, (ctypes.Structure,), {"_fields_": fields + [(key, ctypes.c_int64) for key in numbers.split()]})


_Input = _structure("_Input", "x0 x1", "c0 c1 images height width step wider reflected")
_Output = _structure("_Output", "weights bias before after y", "channels inputs")
_Weights = _structure("_Weights", "w", "outputs inputs output_stride input_stride y_stride x_stride")
_Gradient = _structure("_Gradient", "dy", w=_Weights)


@dataclass
class Convolution:
    """One convolution of a call: y = ReLU(conv(x) + bias + before) + after. Terms that are None count as 0."""

    transformed_weights: Tensor  # by ``Kernel.transform``
    channels: int  # of the output
    bias: Tensor | None = None
    before: Tensor | None = None  # overwritten with y
    after: Tensor | None = None  # overwritten with y


class Kernel:
    """The functions of the compiled library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.panel = int(library.lama_winograd_panel())
        self._kept = threading.local()

    def transform(self, *weights: Tensor, backward: bool = False) -> Tensor:
        """U = G g G^T of weights (O, I, 3, 3), concatenated in their inputs: (36, O / panel, sum of I, panel).

        O is rounded up to whole panels. ``backward``: the weights of the convolution that maps the gradient of the
        output to that of the input; it exchanges O and I and rotates the kernel by 180 degrees.
        """
        transformed = torch.empty(self._shape(weights, backward))
        self._transform_into(transformed, weights, backward)
        return transformed

    def transform_temporarily(self, *groups: Sequence[Tensor], backward: bool = False) -> list[Tensor]:
        """``transform`` of each group, in memory that the next call overwrites: for training, where weights change."""
        shapes = [self._shape(weights, backward) for weights in groups]
        sizes = [math.prod(shape) for shape in shapes]
        pieces = self._memory("weights", sum(sizes)).split(sizes)
        results = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        for transformed, weights in zip(results, groups, strict=True):
            self._transform_into(transformed, weights, backward)
        return results

    def _shape(self, weights: Sequence[Tensor], backward: bool) -> tuple[int, int, int, int]:
        inputs, outputs = int(not backward), int(backward)
        channels = weights[0].shape[outputs]
        return 36, -(-channels // self.panel), sum(weight.shape[inputs] for weight in weights), self.panel

    def _transform_into(self, transformed: Tensor, weights: Sequence[Tensor], backward: bool) -> None:
        first, depth = 0, transformed.shape[2]
        for weight in (weight.detach().float() for weight in weights):
            described = _weights(weight, backward)
            self.library.lama_winograd_weights(
                ctypes.byref(described), _pointer(transformed), *_integers(depth, first, torch.get_num_threads())
            )
            first += described.inputs

    def _memory(self, name: str, size: int) -> Tensor:
        """So many floats, reused by this thread's next call: fresh pages from the system cost more than the work."""
        kept = getattr(self._kept, name, None)
        if kept is None or len(kept) < size:
            kept = torch.empty(size)
            setattr(self._kept, name, kept)
        return kept[:size]

    def convolve(
        self, parts: Sequence[Tensor], convolutions: Sequence[Convolution], *, relu: bool = False,
        dilation: int = 1, reflected: bool = True, wider: bool = False,
    ) -> list[Tensor]:  # fmt: skip
        """One output for each convolution, of the size of the input, or with one pixel more on each side (``wider``).

        The input is ``reflected`` at its borders (H and W are at least 2), or padded with zeros. The result is written
        into ``after``, else into ``before``, else into a new tensor.
        """
        parts = [floats(part) for part in parts]
        befores = [None if conv.before is None else floats(conv.before) for conv in convolutions]
        size = [side + 2 * wider for side in parts[0].shape[2:]]
        results = [
            conv.after if conv.after is not None else before if before is not None
            else torch.empty((len(parts[0]), conv.channels, *size), memory_format=CHANNELS_LAST)
            for conv, before in zip(convolutions, befores, strict=True)
        ]  # fmt: skip
        outputs = (_Output * len(convolutions))()
        for i, (conv, before, result) in enumerate(zip(convolutions, befores, results, strict=True)):
            assert result.dtype == torch.float32
            assert result.is_contiguous(memory_format=CHANNELS_LAST)
            pointers = [_pointer(t) for t in (conv.transformed_weights, conv.bias, before, conv.after, result)]
            outputs[i] = _Output(*pointers, conv.channels, conv.transformed_weights.shape[2])
        image = _input(parts, dilation, reflected, wider)
        scratch, stride, tiles = self._scratch(image, [conv.channels for conv in convolutions])
        self.library.lama_winograd(
            ctypes.byref(image), outputs, *_integers(len(outputs), int(relu)), _pointer(scratch),
            *_integers(stride, tiles, torch.get_num_threads()),
        )  # fmt: skip
        return results

    def weight_gradients(self, parts: Sequence[Tensor], gradients: Sequence[Tensor], inputs: Sequence[int],
                         *, dilation: int = 1, reflected: bool = True) -> list[Tensor]:  # fmt: skip
        """The gradients (O, inputs, 3, 3), channels-last, of the weights of several convolutions of ``parts``.

        ``gradients`` (B, O, H, W) belong to their outputs; ``inputs`` are the numbers of channels that they read.
        """
        parts, gradients = [floats(part) for part in parts], [floats(gradient) for gradient in gradients]
        results, outputs = [], (_Gradient * len(gradients))()
        for i, (gradient, n) in enumerate(zip(gradients, inputs, strict=True)):
            weight = torch.empty((gradient.shape[1], n, 3, 3), memory_format=CHANNELS_LAST)
            outputs[i] = _Gradient(_pointer(gradient), _weights(weight))
            results.append(weight)
        image = _input(parts, dilation, reflected)
        scratch, _, tiles = self._scratch(image, [gradient.shape[1] for gradient in gradients])
        self.library.lama_winograd_gradient(
            ctypes.byref(image), outputs, *_integers(len(outputs)), _pointer(scratch),
            *_integers(tiles, torch.get_num_threads()),
        )  # fmt: skip
        return results

    def _scratch(self, image: Any, channels: Sequence[int]) -> tuple[Tensor, int, int]:
        """Working memory, the distance of two tiles in it, and the number of tiles it holds."""
        stride = -(-(image.c0 + image.c1) // 16) * 16 + 16  # the last 16 keep tiles off the same cache lines
        per_tile = 36 * (stride + sum(-(-n // self.panel) * self.panel for n in channels))
        down, across = (-(-(size + 2 * image.wider) // (4 * image.step)) for size in (image.height, image.width))
        tiles = image.images * image.step**2 * down * across
        chunk = max(1, min(tiles, SCRATCH // per_tile))
        return self._memory("scratch", per_tile * chunk), stride, chunk


@functools.cache
def kernel() -> Kernel | None:
    """The compiled kernel, if it can be built and computes a small example correctly; else None, after one log line."""
    library = native.load("winograd")
    if library is None:
        return None
    found = Kernel(library)
    error = _error(found)
    if not error < 1e-5:
        logger.warning("winograd: the compiled kernel has an error of %.1e (limit 1e-5), computing without it", error)
        return None
    return found


@torch.no_grad()
def _error(kernel: Kernel) -> float:
    """The largest error of a small example, relative to the largest value of torch's convolution in float64."""
    x0, x1, weight, bias, before, after = (
        scattered(*shape, dtype=torch.float64)
        for shape in [(2, 5, 6, 9), (2, 19, 6, 9), (35, 24, 3, 3), (35,), (2, 35, 6, 9), (2, 35, 6, 9)]
    )
    padded = F.pad(torch.cat([x0, x1], dim=1), (1, 1, 1, 1), mode="reflect")
    expected = (F.conv2d(padded, weight, bias) + before).relu() + after
    conv = Convolution(kernel.transform(weight.float()), 35, bias.float(), floats(before), floats(after))
    (got,) = kernel.convolve([x0, x1], [conv], relu=True)
    return ((got - expected).abs().max() / expected.abs().max()).item()


def floats(x: Tensor) -> Tensor:
    """``x`` in float32, channels-last; itself if it is so already."""
    return channels_last(x.float())


def _input(parts: Sequence[Tensor], dilation: int, reflected: bool, wider: bool = False) -> Any:
    c0, c1 = parts[0].shape[1], parts[1].shape[1] if len(parts) > 1 else 0
    batch, _, height, width = parts[0].shape
    pointers = _pointer(parts[0]), _pointer(parts[1] if c1 else None)
    return _Input(*pointers, c0, c1, batch, height, width, dilation, wider, reflected)


def _weights(weight: Tensor, backward: bool = False) -> Any:
    """Where the kernel finds (O, I, 3, 3) weights: pointer, channels and strides.

    ``backward`` reads them with O and I exchanged and rotated by 180 degrees, without a copy: from the last element of
    the kernel on, w[2, 2], with negative strides.
    """
    (outputs, inputs), (by_output, by_input, down, across) = weight.shape[:2], weight.stride()
    if not backward:
        return _Weights(_pointer(weight), outputs, inputs, by_output, by_input, down, across)
    last = ctypes.c_void_p(weight.data_ptr() + weight.element_size() * 2 * (down + across))
    return _Weights(last, inputs, outputs, by_input, by_output, -down, -across)


def _integers(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())

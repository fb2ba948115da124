"""The 3 x 3 convolutions of the bottleneck by Winograd's F(4x4, 3x3), in C++ (``winograd.cpp``): twice as fast."""

import ctypes
import functools
import logging
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.inference import native
from lama.inference.fused_layers import CHANNELS_LAST
from lama.models.folding import Folded

logger = logging.getLogger(__name__)

SCRATCH = 5_000_000  # floats: what the last cache level of a desktop holds
MOST_PIXELS_TO_KEEP = 160 * 160  # of the bottleneck: up to 1280 x 1280 of a picture
_ROOT = 2**0.5
# U = G g G^T; the points are those of the kernel: 0, -+sqrt(1/2), -+sqrt(2), infinity
G: list[list[float]] = [
    [1, 0, 0],
    [-2 / 3, -_ROOT / 3, -1 / 3],
    [-2 / 3, _ROOT / 3, -1 / 3],
    [1 / 6, _ROOT / 6, 1 / 3],
    [1 / 6, -_ROOT / 6, 1 / 3],
    [0, 0, 1],
]


class _Output(ctypes.Structure):
    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("weights", "bias", "before", "after", "y")],
        ("channels", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    )


class PointWeights:
    """Transformed weights, 4 times as large as the plain ones: kept, unless all that is asked for is large pictures."""

    def __init__(self, convs: Sequence[Folded], transform: Callable[[Tensor], Tensor]) -> None:
        self.plain, self.transform = [conv.weight.float() for conv in convs], transform
        self.kept: list[Tensor] | None = None

    def __call__(self, pixels: int) -> list[Tensor]:
        """For a bottleneck of so many pixels."""
        if self.kept is not None:
            return self.kept
        weights = [self.transform(weight) for weight in self.plain]
        if pixels <= MOST_PIXELS_TO_KEEP:
            self.kept = weights
        return weights


class WinogradConv(nn.Module):
    """Convolutions of one input: each output = ReLU(conv + before) + after, borders reflected, float32.

    ``convs`` are 3 x 3; each reads as many of the first input channels as it has weights for.
    """

    def __init__(self, library: ctypes.CDLL, convs: Sequence[Folded], relu: bool) -> None:
        super().__init__()
        self.library, self.relu = library, relu
        self.panel = int(library.lama_winograd_panel())
        self.channels = [conv.weight.shape[0] for conv in convs]
        self.inputs = [conv.weight.shape[1] for conv in convs]
        self.weights = PointWeights(convs, functools.partial(transform, panel=self.panel))
        self.biases = [
            torch.zeros(n) if conv.bias is None else conv.bias.float()
            for n, conv in zip(self.channels, convs, strict=True)
        ]

    def forward(
        self,
        parts: Sequence[Tensor],  # the input in one or two pieces, (B, C_i, H, W)
        before: Sequence[Tensor | None] | None = None,  # for each output; overwritten, where it is not None
        after: Sequence[Tensor | None] | None = None,  # for each output; overwritten with the result, where not None
    ) -> list[Tensor]:
        """One (B, C, H, W) for each convolution, channels-last."""
        parts = [_floats(part) for part in parts]
        batch, _, height, width = parts[0].shape
        weights = self.weights(batch * height * width)
        none: list[Tensor | None] = [None] * len(self.channels)
        befores = [None if t is None else _floats(t) for t in before or none]
        afters = list(after or none)
        assert all(
            t is None or (t.dtype == torch.float32 and t.is_contiguous(memory_format=CHANNELS_LAST)) for t in afters
        )
        results, outputs = [], (_Output * len(self.channels))()
        for i, channels in enumerate(self.channels):
            old = afters[i] if afters[i] is not None else befores[i]
            y = torch.empty((batch, channels, height, width), memory_format=CHANNELS_LAST) if old is None else old
            pointers = [_pointer(t) for t in (weights[i], self.biases[i], befores[i], afters[i], y)]
            outputs[i] = _Output(*pointers, channels, self.inputs[i])
            results.append(y)
        self._run(parts, outputs, batch, height, width)
        return results

    def _run(
        self, parts: Sequence[Tensor], outputs: ctypes.Array[_Output], batch: int, height: int, width: int
    ) -> None:
        c0, c1 = parts[0].shape[1], parts[1].shape[1] if len(parts) > 1 else 0
        stride = -(-(c0 + c1) // 16) * 16 + 16  # the extra keeps rows from falling onto the same cache lines
        per_tile = 36 * (stride + sum(-(-n // self.panel) * self.panel for n in self.channels))
        tiles = batch * -(-height // 4) * -(-width // 4)
        chunk = max(1, min(tiles, SCRATCH // per_tile))
        scratch = torch.empty(per_tile * chunk)
        numbers = [ctypes.c_int64(n) for n in (batch, height, width)]
        self.library.lama_winograd(
            _pointer(parts[0]), ctypes.c_int64(c0), _pointer(parts[1] if c1 else None), ctypes.c_int64(c1), *numbers,
            outputs, ctypes.c_int64(len(outputs)), ctypes.c_int64(self.relu), _pointer(scratch),
            ctypes.c_int64(stride), ctypes.c_int64(chunk), ctypes.c_int64(torch.get_num_threads()),
        )  # fmt: skip


def transform(weight: Tensor, panel: int) -> Tensor:
    """(C_out, C_in, 3, 3) -> (36, C_out / panel, C_in, panel) float32: U of every point, C_out filled up."""
    c_out, c_in = weight.shape[:2]
    g = torch.tensor(G, dtype=torch.float64)
    points = torch.einsum("ij,ocjk,lk->ilco", g, weight.double(), g).reshape(36, c_in, c_out)
    points = F.pad(points, (0, -c_out % panel)).view(36, c_in, -1, panel)
    return points.transpose(1, 2).float().contiguous()


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel, after it has shown on a small picture that it is right; None where it cannot be had."""
    kernel = native.load("winograd")
    if kernel is None:
        return None
    generator = torch.Generator().manual_seed(0)
    x0, x1, weight, bias, before, after = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in [(2, 5, 6, 9), (2, 19, 6, 9), (35, 24, 3, 3), (35,), (2, 35, 6, 9), (2, 35, 6, 9)]
    )
    padded = F.pad(torch.cat([x0, x1], dim=1), (1, 1, 1, 1), mode="reflect")
    expected = (F.conv2d(padded, weight, bias) + before).relu() + after
    pictures = [t.float().contiguous(memory_format=CHANNELS_LAST) for t in (x0, x1, before, after)]
    with torch.no_grad():
        got = WinogradConv(kernel, [Folded(weight, bias)], True)(pictures[:2], [pictures[2]], [pictures[3]])[0]
    error = (got - expected).abs().max().item() / expected.abs().max().item()
    if not error < 1e-5:
        logger.warning("winograd: the compiled kernel is off by %.1e on this machine, computing without it", error)
        return None
    return kernel


def _floats(x: Tensor) -> Tensor:
    return x.float().contiguous(memory_format=CHANNELS_LAST)


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())

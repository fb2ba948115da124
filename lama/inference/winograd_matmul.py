"""Winograd's F(4x4, 3x3) as matrix products: what a machine without a compiler computes in place of ``winograd.cpp``.

Y = A^T [(G g G^T) * (B^T d B)] A for tiles d of 6 x 6 and their 4 x 4 results Y (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", CVPR 2016), 36 products for 144. Both transforms are one matrix product each, with the
Kronecker products of B^T and A^T, and the 36 points are one batched product over the channels.
"""

import ctypes
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.inference import winograd
from lama.inference.folding import Folded

TILES = 256  # at a time: 16 x 16 tiles of 1024 channels, in and out, are 40 MB
_A, _B = 0.5**0.5, 2**0.5  # the points are 0, -+a, -+b, infinity, with ab = 1
_BT = [
    [1, 0, -2.5, 0, 1, 0],
    [0, -2 * _A, -2, _A, 1, 0],
    [0, 2 * _A, -2, -_A, 1, 0],
    [0, -_B / 2, -0.5, _B, 1, 0],
    [0, _B / 2, -0.5, -_B, 1, 0],
    [0, 1, 0, -2.5, 0, 1],
]
_AT = [[float(i == 0), _A**i, (-_A) ** i, _B**i, (-_B) ** i, float(i == 3)] for i in range(4)]


def _both_sides(matrix: list[list[float]]) -> Tensor:
    """m x m^T of a flattened x, as one matrix."""
    m = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(m, m)


class MatmulWinogradConv(nn.Module):
    """Convolutions of one input: each output = ReLU(conv + before) + after, borders reflected, float32.

    As ``WinogradConv``, with the same arguments, on a CPU.
    """

    def __init__(self, convs: Sequence[Folded], relu: bool) -> None:
        super().__init__()
        self.relu = relu
        self.plain = [conv.weight for conv in convs]
        self.biases = [None if conv.bias is None else conv.bias.float() for conv in convs]
        self.to_points, self.from_points = (_both_sides(m).float() for m in (_BT, _AT))
        self.kept: list[Tensor] | None = None

    def forward(
        self,
        parts: Sequence[Tensor],  # the input in one or two pieces, (B, C_i, H, W)
        before: Sequence[Tensor | None] | None = None,  # for each output
        after: Sequence[Tensor | None] | None = None,  # for each output; overwritten with the result, where not None
    ) -> list[Tensor]:
        """One (B, C, H, W) for each convolution, channels-last."""
        x = F.pad(torch.cat([part.float() for part in parts], dim=1), (1, 1, 1, 1), mode="reflect")
        batch, _, height, width = parts[0].shape
        pixels = F.pad(x, (0, -width % 4, 0, -height % 4)).permute(0, 2, 3, 1)  # whole tiles
        weights = self._weights(batch * height * width)
        none: list[Tensor | None] = [None] * len(weights)
        sums = [[None if t is None else t.permute(0, 2, 3, 1) for t in given or none] for given in (before, after)]
        results = [torch.empty(batch, height, width, weight.shape[2]) for weight in weights]
        columns = -(-width // 4)
        rows = 4 * max(1, TILES // columns)
        for b in range(batch):
            for top in range(0, height, rows):
                points = self._points(pixels[b, top : top + rows + 2])
                for i, weight in enumerate(weights):
                    y = self._values(torch.bmm(points[:, :, : weight.shape[1]], weight), columns)
                    y = y[: height - top, :width]
                    here = slice(top, top + len(y))
                    add, add_last = (None if given[i] is None else given[i][b, here] for given in sums)  # type: ignore[index]
                    results[i][b, here] = self._finish(y, self.biases[i], add, add_last)
        return [self._overwrite(y.permute(0, 3, 1, 2), old) for y, old in zip(results, after or none, strict=True)]

    def _points(self, pixels: Tensor) -> Tensor:
        """(4 r + 2, 4 s + 2, C) -> (36, r s, C)."""
        tiles = pixels.unfold(0, 6, 4).unfold(1, 6, 4)  # (r, s, C, 6, 6)
        rows, columns, channels = tiles.shape[:3]
        tiles = tiles.permute(3, 4, 0, 1, 2).reshape(36, -1)
        return (self.to_points @ tiles).view(36, rows * columns, channels)

    def _values(self, points: Tensor, columns: int) -> Tensor:
        """(36, r s, C) -> (4 r, 4 s, C)."""
        channels = points.shape[2]
        values = (self.from_points @ points.flatten(1)).view(4, 4, -1, columns, channels)
        return values.permute(2, 0, 3, 1, 4).reshape(-1, 4 * columns, channels)

    def _finish(self, y: Tensor, bias: Tensor | None, before: Tensor | None, after: Tensor | None) -> Tensor:
        for summand in (bias, before):
            if summand is not None:
                y = y + summand
        y = y.relu_() if self.relu else y
        return y if after is None else y + after

    def _overwrite(self, y: Tensor, old: Tensor | None) -> Tensor:
        return y if old is None else old.copy_(y)

    def _weights(self, pixels: int) -> list[Tensor]:
        """(36, C_in, C_out) each, 4 times as large as the plain ones; kept, unless only large pictures come."""
        if self.kept is not None:
            return self.kept
        g = _both_sides(winograd.G)
        weights = [
            (g @ w.permute(2, 3, 1, 0).flatten(0, 1).flatten(1)).view(36, w.shape[1], w.shape[0]).float()
            for w in self.plain
        ]
        if pixels <= winograd.MOST_PIXELS_TO_KEEP:
            self.kept = weights
        return weights


def winograd_conv(
    convs: Sequence[Folded], dtype: torch.dtype, kernel: ctypes.CDLL | None, relu: bool
) -> winograd.WinogradConv | MatmulWinogradConv | None:
    """The better of the two for these convolutions; None where plain ones are: off the CPU, and in bfloat16.

    The compiled ``kernel`` is faster than a plain convolution in bfloat16 as well.
    """
    if not convs or convs[0].weight.device.type != "cpu":
        return None
    if kernel is not None:
        return winograd.WinogradConv(kernel, convs, relu)
    return MatmulWinogradConv(convs, relu) if dtype == torch.float32 else None

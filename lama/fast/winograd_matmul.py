"""Winograd's F(4x4, 3x3) as matrix products: what a machine without a compiler computes in place of ``winograd.cpp``.

Y = A^T [(G g G^T) * (B^T d B)] A for tiles d of 6 x 6 and their 4 x 4 results Y (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", CVPR 2016), 36 products for 144. Both transforms are one matrix product each, with the
Kronecker products of B^T and A^T, and the 36 points are one batched product over the channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lama.fast.winograd import PointWeights, WinogradConv
from lama.fast.winograd_kernel import Kernel
from lama.models.folding import Folded

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
_G: list[list[float]] = [
    [1, 0, 0],
    [-2 / 3, -_B / 3, -1 / 3],
    [-2 / 3, _B / 3, -1 / 3],
    [1 / 6, _B / 6, 1 / 3],
    [1 / 6, -_B / 6, 1 / 3],
    [0, 0, 1],
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
        self.weights = PointWeights(convs, _transform)
        self.biases = [None if conv.bias is None else conv.bias.float() for conv in convs]
        self.to_points, self.from_points = (_both_sides(m).float() for m in (_BT, _AT))

    def forward(
        self,
        parts: Sequence[Tensor],  # the input in one or two pieces, (B, C_i, H, W)
        before: Sequence[Tensor | None] | None = None,  # for each output; overwritten, where it is not None
        after: Sequence[Tensor | None] | None = None,  # for each output; overwritten with the result, where not None
    ) -> list[Tensor]:
        """One (B, C, H, W) for each convolution, channels-last where it is new."""
        batch, _, height, width = parts[0].shape
        weights = self.weights(batch * height * width)
        befores, afters = (list(given) if given else [None] * len(weights) for given in (before, after))
        results = [
            _new_or_old(batch, weight.shape[2], height, width, befores[i], afters[i])
            for i, weight in enumerate(weights)
        ]
        columns = -(-width // 4)
        rows = 4 * max(1, TILES // columns)
        for b in range(batch):
            for top in range(0, height, rows):
                here = slice(top, min(top + rows, height))
                points = self._points(_rows(parts, b, here))
                for i, weight in enumerate(weights):
                    y = self._values(torch.bmm(points[:, :, : weight.shape[1]], weight), columns)
                    y = y[: here.stop - top, :width].permute(2, 0, 1)
                    old_before, old_after = (None if t is None else t[b, :, here] for t in (befores[i], afters[i]))
                    results[i][b, :, here] = self._finish(y, self.biases[i], old_before, old_after)
        return results

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
        y = y if bias is None else y + bias[:, None, None]
        y = y if before is None else y + before
        y = y.relu_() if self.relu else y
        return y if after is None else y + after


def _transform(weight: Tensor) -> Tensor:
    """(C_out, C_in, 3, 3) -> (36, C_in, C_out) float32."""
    c_out, c_in = weight.shape[:2]
    points = _both_sides(_G) @ weight.double().permute(2, 3, 1, 0).reshape(9, -1)
    return points.view(36, c_in, c_out).float()


def _new_or_old(batch: int, channels: int, height: int, width: int, *old: Tensor | None) -> Tensor:
    """The last of ``old`` that is there, to be overwritten, or a new one."""
    there = [t for t in old if t is not None and t.dtype == torch.float32]
    return there[-1] if there else torch.empty((batch, channels, height, width), memory_format=torch.channels_last)


def _rows(parts: Sequence[Tensor], image: int, rows: slice) -> Tensor:
    """These rows of one image and one more on each side, by reflection, in whole tiles: (4 r + 2, 4 s + 2, C)."""
    height, width = parts[0].shape[2:]
    index = torch.arange(rows.start - 1, rows.stop + 1 + -(rows.stop - rows.start) % 4).abs()
    index = torch.where(index < height, index, (2 * height - 2 - index).clamp(min=0))
    x = torch.cat([part[image].permute(1, 2, 0).index_select(0, index).float() for part in parts], dim=2)
    return torch.cat([x[:, 1:2], x, x[:, -2:-1], x[:, :1].expand(-1, -width % 4, -1)], dim=1)


def winograd_conv(
    convs: Sequence[Folded], dtype: torch.dtype, kernel: Kernel | None, relu: bool
) -> WinogradConv | MatmulWinogradConv | None:
    """The better of the two for these convolutions; None where plain ones are: off the CPU, and in bfloat16.

    The compiled ``kernel`` is faster than a plain convolution in bfloat16 as well.
    """
    if not convs or convs[0].weight.device.type != "cpu":
        return None
    if kernel is not None:
        return WinogradConv(kernel, convs, relu)
    return MatmulWinogradConv(convs, relu) if dtype == torch.float32 else None

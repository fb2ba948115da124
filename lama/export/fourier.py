"""The Fourier unit by matrix products, for runtimes without a Fourier transform.

A transform over W of a real signal is a product with cos and -sin of 2 pi j k / W, (W, W // 2 + 1); over H with the
whole (H, H). The graph makes the matrices from H and W, so sizes stay free. The work per channel is O(H W (H + W))
in place of O(H W log(H W)).
"""

import copy
import math

import torch
from torch import Tensor, nn

from lama.models.ffc import FourierUnit


class MatmulFourierUnit(nn.Module):
    """The same function as ``unit``, with its layers: (B, C_in, H, W) -> (B, C_out, H, W); products in float32."""

    def __init__(self, unit: FourierUnit) -> None:
        super().__init__()
        self.conv_layer, self.bn, self.relu = unit.conv_layer, unit.bn, unit.relu

    def forward(self, x: Tensor) -> Tensor:
        height, width, dtype = x.shape[2], x.shape[3], x.dtype
        x = x.float()
        cos_h, sin_h = _waves(height, height, x)
        cos_w, sin_w = _waves(width, width // 2 + 1, x)
        real, imag = x @ cos_w, -(x @ sin_w)
        real, imag = cos_h @ real + sin_h @ imag, cos_h @ imag - sin_h @ real
        planes = torch.stack([real, imag], dim=2).flatten(1, 2)  # interleaved, as FourierUnit has them
        planes = self.relu(self.bn(self.conv_layer(planes)))
        real, imag = planes[:, 0::2], planes[:, 1::2]
        real, imag = cos_h @ real - sin_h @ imag, cos_h @ imag + sin_h @ real
        twice = _multiplicity(width, x)
        out = (real * twice) @ cos_w.transpose(0, 1) - (imag * twice) @ sin_w.transpose(0, 1)
        return out.to(dtype)


def _waves(size: int, frequencies: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi j k / size, over sqrt(size): (size, frequencies); j k modulo size, to keep the digits."""
    period = torch.arange(size, size + 1, device=like.device)  # a tensor: ONNX has no remainder by a symbolic size
    j, k = torch.arange(size, device=like.device), torch.arange(frequencies, device=like.device)
    turns = torch.remainder(j.unsqueeze(1) * k.unsqueeze(0), period).to(like.dtype) / period.to(like.dtype)
    scale = period.to(like.dtype).rsqrt()
    return torch.cos(2 * math.pi * turns) * scale, torch.sin(2 * math.pi * turns) * scale


def _multiplicity(width: int, like: Tensor) -> Tensor:
    """How often each column of the half spectrum occurs in the whole: 1 for the first and the middle one, else 2."""
    column = torch.arange(width // 2 + 1, device=like.device)
    alone = (column == 0) | (2 * column == torch.arange(width, width + 1, device=like.device))
    return 2 - alone.to(like.dtype)


def with_matmul(generator: nn.Module) -> nn.Module:
    """A copy of ``generator`` with a ``MatmulFourierUnit`` for every Fourier unit; its weights keep their names."""
    generator = copy.deepcopy(generator)
    for module in list(generator.modules()):
        for name, child in module.named_children():
            if isinstance(child, FourierUnit):
                setattr(module, name, MatmulFourierUnit(child))
    return generator

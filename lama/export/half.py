"""A network in float16 between float32 ends; Fourier transforms stay in float32.

A transform sums over the whole image: its value at frequency 0 is the mean times sqrt(H W), which float16 cannot hold
for large images. So the spectrum is divided by sqrt(H W) before its layer in float16, and multiplied after it.
"""

import copy

import torch
from torch import Tensor, nn

from lama.export.fourier import MatmulFourierUnit
from lama.models.ffc import FourierUnit


class Half(nn.Module):
    """The same function as ``generator``, (B, 4, H, W) float32 -> (B, 3, H, W) float32, computed in float16.

    ``generator`` is copied. Raises ValueError if a weight is too large for float16.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.pad_multiple, self.min_size = generator.pad_multiple, generator.min_size
        self.network = copy.deepcopy(generator).half()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                raise ValueError(f"half=true: {name} is too large for float16 (above 65504); export without half=true")
        for module in self.network.modules():
            if isinstance(module, FourierUnit | MatmulFourierUnit):
                module.conv_layer = _SpectrumConv(module.conv_layer)  # type: ignore[assignment]
                module.bn.float()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.half()).float()


class _SpectrumConv(nn.Module):
    """``conv``, 1 x 1 without bias, in float16: (B, 2 C_in, H, W // 2 + 1) float32 -> (B, 2 C_out, ...) float32."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight

    def forward(self, planes: Tensor) -> Tensor:
        size = torch.ones_like(planes[:1, :1]).sum().sqrt()
        return nn.functional.conv2d((planes / size).half(), self.weight).float() * size

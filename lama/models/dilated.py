"""LaMa-Dilated: LaMa-Regular with four dilations in every block (table 2 of the paper).

State-dict keys match the published configuration (``multidilated``, ``cat_in``, 4 dilations); 45,645,379
parameters with 9 blocks.
"""

from typing import Any

from torch import Tensor, nn

from lama.models.layers import ReflectedConv2d
from lama.models.resnet import ResNetGenerator


class DilatedResNetGenerator(ResNetGenerator):
    """Masked image and mask (B, 4, H, W) -> image (B, 3, H, W) in [0, 1].

    As ``ResNetGenerator``, but ``min_size`` is larger: the widest dilation reflects 2^(n_dilations - 1) pixels at the
    resolution of the blocks. Raises ValueError if the channels do not divide by ``n_dilations``.
    """

    def __init__(
        self,
        input_nc: int = 4,
        output_nc: int = 3,
        ngf: int = 64,
        n_downsampling: int = 3,
        n_blocks: int = 9,
        max_features: int = 1024,
        n_dilations: int = 4,  # dilations 1, 2, 4, ...
    ) -> None:
        if n_dilations < 1:
            raise ValueError(f"generator.n_dilations: expected at least 1, got {n_dilations}")
        self._n_dilations = n_dilations  # before the parent: its constructor calls ``block``
        super().__init__(input_nc, output_nc, ngf, n_downsampling, n_blocks, max_features)
        self.config: dict[str, Any] = self.config | {"n_dilations": n_dilations}
        self.min_size = (2 ** (n_dilations - 1) + 1) * self.pad_multiple

    def block(self, channels: int) -> nn.Module:
        return MultidilatedBlock(channels, self._n_dilations)


class MultidilatedConv(nn.Module):
    """The sum of 3 x 3 convolutions of dilation 1, 2, 4, ..., each on its own share of the input channels.

    (B, C_in, H, W) -> (B, C_out, H, W); every branch reads C_in / n channels and writes all C_out (``cat_in``).
    """

    def __init__(self, in_channels: int, out_channels: int, n_dilations: int) -> None:
        super().__init__()
        if in_channels % n_dilations:
            raise ValueError(f"generator.n_dilations: {in_channels} channels do not divide by {n_dilations}")
        share = in_channels // n_dilations
        self.convs = nn.ModuleList(
            ReflectedConv2d(share, out_channels, 3, padding=2**i, dilation=2**i) for i in range(n_dilations)
        )

    def forward(self, x: Tensor) -> Tensor:
        shares = x.chunk(len(self.convs), dim=1)
        out = self.convs[0](shares[0])
        for conv, share in zip(self.convs[1:], shares[1:], strict=True):
            out = out + conv(share)
        return out


class MultidilatedBlock(nn.Module):
    """x + two multidilated convolutions, (B, C, H, W); nothing follows the addition."""

    def __init__(self, channels: int, n_dilations: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            MultidilatedConv(channels, channels, n_dilations), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            MultidilatedConv(channels, channels, n_dilations), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)

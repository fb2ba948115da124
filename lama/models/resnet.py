"""LaMa-Regular: the same network with ordinary convolutions (tables 2 to 4 of the paper).

It is the GlobalGenerator of pix2pixHD (Wang et al., CVPR 2018); layer order and state-dict keys (``model.<i>...``)
match the published checkpoints. With 9 blocks 45,617,731 parameters, with 15 ("Deep / Regular") 73,947,715.
"""

from typing import Any

from torch import Tensor, nn

from lama.models.layers import ReflectionPad2d, StagedNetwork, check_sizes, decoder, level_widths


class ResNetGenerator(StagedNetwork):
    """Masked image and mask (B, 4, H, W) -> image (B, 3, H, W) in [0, 1].

    Unlike LaMa-Fourier it pads its strided convolutions with zeros, and every convolution has a bias. H and W are at
    least ``min_size``. If they do not divide by ``pad_multiple`` the output is computed at the next multiple and
    cropped. Raises ValueError for arguments that contradict each other.
    """

    def __init__(
        self,
        input_nc: int = 4,  # masked RGB and the mask
        output_nc: int = 3,  # RGB
        ngf: int = 64,  # channels after the first convolution; doubled by every downsampling
        n_downsampling: int = 3,  # the blocks work at 1 / 2^n of the resolution
        n_blocks: int = 9,  # residual blocks
        max_features: int = 1024,  # channels never exceed this
    ) -> None:
        super().__init__()
        check_sizes(ngf, n_downsampling, n_blocks)
        self.config: dict[str, Any] = {
            "input_nc": input_nc,
            "output_nc": output_nc,
            "ngf": ngf,
            "n_downsampling": n_downsampling,
            "n_blocks": n_blocks,
            "max_features": max_features,
        }
        self.pad_multiple = 2**n_downsampling
        self.min_size = 2 * self.pad_multiple  # the blocks reflect one pixel, so they need two
        widths = level_widths(ngf, n_downsampling, max_features)
        layers: list[nn.Module] = [ReflectionPad2d(3), nn.Conv2d(input_nc, ngf, 7), nn.BatchNorm2d(ngf), nn.ReLU()]
        for i in range(n_downsampling):
            layers += [
                nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1),
                nn.BatchNorm2d(widths[i + 1]),
                nn.ReLU(inplace=True),
            ]
        layers += [self.block(widths[-1]) for _ in range(n_blocks)]
        self.model = nn.Sequential(*layers, *decoder(widths, output_nc))
        self._first_block = 4 + 3 * n_downsampling

    def block(self, channels: int) -> nn.Module:
        """One residual block, (B, C, H, W) -> the same; LaMa-Dilated overrides it."""
        return ResNetBlock(channels)


class ResNetBlock(nn.Module):
    """x + two 3 x 3 convolutions with reflected borders, (B, C, H, W); nothing follows the addition."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)

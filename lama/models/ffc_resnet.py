"""The inpainting network of the paper: ResNet-like, with fast Fourier convolutions (LaMa-Fourier, Big LaMa).

Sections 2.2 and 3 of the paper; layer order and state-dict keys (``model.<i>...``) match the published checkpoints.
LaMa-Fourier has 9 blocks and 27,048,835 parameters, Big LaMa 18 blocks and 50,975,875.
"""

from typing import Any

import torch
from torch import nn

from lama.models.ffc import ConcatBranches, FFCBlock, FFCResnetBlock
from lama.models.layers import UPSAMPLING, ReflectionPad2d, StagedNetwork, check_sizes, decoder, level_widths


class FFCResNetGenerator(StagedNetwork):
    """Masked image and mask (B, 4, H, W) -> image (B, 3, H, W) in [0, 1].

    H and W are at least ``min_size``. If they do not divide by ``pad_multiple`` the output is computed at the next
    multiple and cropped. (Prediction pads the input instead, which gives better borders.) With ``enable_lfu`` they must
    divide by ``pad_multiple``. Raises ValueError for arguments that contradict each other.
    """

    def __init__(
        self,
        input_nc: int = 4,  # masked RGB and the mask
        output_nc: int = 3,  # RGB
        ngf: int = 64,  # channels after the first convolution; doubled by every downsampling
        n_downsampling: int = 3,  # the blocks work at 1 / 2^n of the resolution
        n_blocks: int = 9,  # residual FFC blocks
        ratio: float = 0.75,  # share of global (Fourier) channels in the blocks
        max_features: int = 1024,  # channels never exceed this
        enable_lfu: bool = False,  # add the local Fourier unit; no published network of the paper has it
        upsampling: str = "transposed",  # of ``layers.UPSAMPLING``: transposed, as published, or resize, without grids
        smooth_init: bool = False,  # start with up-sampling that maps constants to constants: see ``_smooth_``
    ) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise ValueError(f"generator.ratio: expected 0 < ratio <= 1, got {ratio}")
        check_sizes(ngf, n_downsampling, n_blocks)
        if upsampling not in UPSAMPLING:
            raise ValueError(f"generator.upsampling: expected one of {', '.join(UPSAMPLING)}, got {upsampling!r}")
        self.config: dict[str, Any] = {
            "input_nc": input_nc,
            "output_nc": output_nc,
            "ngf": ngf,
            "n_downsampling": n_downsampling,
            "n_blocks": n_blocks,
            "ratio": ratio,
            "max_features": max_features,
            "enable_lfu": enable_lfu,
            "upsampling": upsampling,
        }
        self.pad_multiple = 2**n_downsampling * (2 if enable_lfu else 1)  # the local Fourier unit halves once more
        self.min_size = 2 * self.pad_multiple  # the blocks reflect one pixel, so they, and quadrants, need two
        widths = level_widths(ngf, n_downsampling, max_features)

        layers: list[nn.Module] = [ReflectionPad2d(3), FFCBlock(input_nc, widths[0], 7, 0, 0)]
        for i in range(n_downsampling):
            last = i == n_downsampling - 1  # the last one opens the global branch
            layers.append(FFCBlock(widths[i], widths[i + 1], 3, 0, ratio if last else 0, stride=2, padding=1))
        layers += [FFCResnetBlock(widths[-1], ratio, enable_lfu) for _ in range(n_blocks)]
        self.model = nn.Sequential(*layers, ConcatBranches(), *decoder(widths, output_nc, upsampling))
        self._first_block = 2 + n_downsampling
        if smooth_init:
            self.model.apply(_smooth_)


def _smooth_(layer: nn.Module) -> None:
    """Make the 3 x 3 kernels of a transposed convolution bilinear, each times its random centre.

    Constant features then give a constant image without a checkerboard, which a training of minutes could not unlearn
    (compare ICNR, Aitken et al., 2017). The published networks start at random.
    """
    if isinstance(layer, nn.ConvTranspose2d):
        tent = torch.tensor([0.5, 1.0, 0.5])
        with torch.no_grad():
            layer.weight.copy_(2 * layer.weight[:, :, 1:2, 1:2] * tent[:, None] * tent[None, :])

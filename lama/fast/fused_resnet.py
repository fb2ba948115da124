"""LaMa-Regular and LaMa-Dilated as fused networks."""

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.fast.chunked import PaddedConv
from lama.fast.fused_generator import FusedGenerator
from lama.fast.fused_layers import Conv, channels_last
from lama.fast.winograd import WinogradConv
from lama.fast.winograd_kernel import Kernel
from lama.models.dilated import MultidilatedConv
from lama.models.folding import Folded, fold, scale_and_shift


def fused_resnet(generator: Any, dtype: torch.dtype, kernel: Kernel | None) -> FusedGenerator:
    """The fast equivalent of a ``ResNetGenerator`` or ``DilatedResNetGenerator``; see ``fuse``."""
    encoder, blocks, decoder = generator.stages()
    convs = [
        # the strided convolutions pad with zeros
        PaddedConv(
            Conv(fold(conv, norm), dtype, stride=conv.stride[0], relu=True),
            "reflect" if conv.stride[0] == 1 else "constant",
        )
        for conv, norm in itertools.pairwise(encoder)
        if isinstance(conv, nn.Conv2d)
    ]
    fused = [FusedResNetBlock(block.conv_block, dtype, kernel) for block in blocks]
    return FusedGenerator(generator, convs, fused, decoder, dtype)


class FusedBranch(nn.Module):
    """A plain or multidilated convolution with its BatchNorm; borders reflected, (B, C, H, W) -> (B, C', H, W).

    The dilated convolutions read a share of the channels each; every one adds to the sum of those before it.
    """

    def __init__(self, conv: nn.Module, norm: nn.BatchNorm2d, dtype: torch.dtype, relu: bool) -> None:
        super().__init__()
        convs = list(conv.convs) if isinstance(conv, MultidilatedConv) else [conv]
        folded = [fold(part, norm) for part in convs]  # type: ignore[arg-type]
        shift = scale_and_shift(norm)[1]
        bias = sum((part.bias - shift for part in folded if part.bias is not None), start=shift)
        self.convs = nn.ModuleList(
            Conv(
                Folded(part.weight, bias if i == 0 else None),
                dtype,
                dilation=int(convs[i].dilation[0]),  # type: ignore[index]
                relu=relu and i == len(convs) - 1,
            )
            for i, part in enumerate(folded)
        )

    def forward(self, x: Tensor, total: Tensor | None = None) -> Tensor:
        """``total``, if given, is added to the result and overwritten."""
        for conv, share in zip(self.convs, x.chunk(len(self.convs), dim=1), strict=True):
            d = conv.dilation
            padded = F.pad(channels_last(share.to(conv.dtype)), (d, d, d, d), mode="reflect")  # type: ignore[arg-type]
            total = conv(padded) if total is None else conv.add_to(total, padded)  # type: ignore[operator]
        assert total is not None
        return total


class FusedResNetBlock(nn.Module):
    """x + f(x); x is overwritten. The layers of ``block`` are paddings, convolutions, BatchNorm and ReLU."""

    def __init__(self, block: nn.Sequential, dtype: torch.dtype, kernel: Kernel | None) -> None:
        super().__init__()
        convs = [layer for layer in block if isinstance(layer, (nn.Conv2d, MultidilatedConv))]
        norms = [layer for layer in block if isinstance(layer, nn.BatchNorm2d)]
        self.winograd = kernel is not None and isinstance(convs[0], nn.Conv2d)  # the kernel does not dilate here
        self.branch1, self.branch2 = (
            WinogradConv(kernel, [fold(conv, norm)], relu)  # type: ignore[arg-type]
            if self.winograd
            else FusedBranch(conv, norm, dtype, relu)
            for conv, norm, relu in zip(convs, norms, (True, False), strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.winograd:
            return self.branch2(self.branch1([x]), after=[x])[0]
        return self.branch2(self.branch1(x), total=x)

"""The residual blocks of LaMa-Regular and LaMa-Dilated in a fused network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.fast.fused_layers import Conv, channels_last
from lama.fast.winograd_kernel import Kernel
from lama.fast.winograd_matmul import winograd_conv
from lama.models.dilated import MultidilatedConv
from lama.models.folding import Folded, fold, scale_and_shift


class FusedBranch(nn.Module):
    """A convolution or a multidilated one, with its BatchNorm; reflects its borders, (B, C, H, W) -> (B, C', H, W).

    Of the dilated convolutions, each on its share of the channels, every one adds to the sum of those before it.
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
        """``total``, where given, is added to the result and overwritten."""
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
        plain = isinstance(convs[0], nn.Conv2d)  # not dilated
        folded = [fold(conv, norm) for conv, norm in zip(convs, norms, strict=True)] if plain else []  # type: ignore[arg-type]
        self.winograd1 = winograd_conv(folded[:1], dtype, kernel, relu=True)
        self.winograd2 = winograd_conv(folded[1:], dtype, kernel, relu=False)
        if self.winograd1 is None:
            self.branch1 = FusedBranch(convs[0], norms[0], dtype, relu=True)
            self.branch2 = FusedBranch(convs[1], norms[1], dtype, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.winograd1 is not None and self.winograd2 is not None:
            return self.winograd2(self.winograd1([x]), after=[x])[0]
        return self.branch2(self.branch1(x), total=x)

"""The FFC of a fused network: two merged convolutions in place of three, and planes that are never permuted."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.inference.folding import Folded, fold, fold_fourier_unit, fold_to_local
from lama.inference.fused_layers import Conv, channels_last
from lama.models.ffc import FFCBlock, FFCResnetBlock, FourierUnit, SpectralTransform, quadrants

Branches = tuple[Tensor | None, Tensor | None]  # (local, global), channels-last; None where a branch has no channels


class FusedFourierUnit(nn.Module):
    """``FourierUnit`` with real and imaginary planes beside each other: (B, C, H, W) -> (B, C, H, W) float32.

    The transform is float32 whatever ``dtype`` the convolution has.
    """

    def __init__(self, unit: FourierUnit, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = Conv(fold_fourier_unit(unit), dtype, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x.float().contiguous(), norm="ortho")  # the FFT wants (B, C, H, W) in this order
        planes = torch.cat([spectrum.real, spectrum.imag], dim=1)
        del spectrum
        planes = self.conv(channels_last(planes.to(self.conv.dtype)))
        real, imag = planes.float().contiguous().chunk(2, dim=1)
        return torch.fft.irfft2(torch.complex(real, imag), s=x.shape[-2:], norm="ortho")


class FusedSpectralTransform(nn.Module):
    """``SpectralTransform``, with the BatchNorm that follows the sum in an FFC: (B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, block: FFCBlock, dtype: torch.dtype, relu: bool) -> None:
        super().__init__()
        spectral = block.ffc.convg2g
        assert isinstance(spectral, SpectralTransform)
        conv, norm = spectral.conv1[0], spectral.conv1[1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        self.conv1 = Conv(fold(conv, norm), dtype, relu=True)
        self.fu = FusedFourierUnit(spectral.fu, dtype)
        self.lfu = None if spectral.lfu is None else FusedFourierUnit(spectral.lfu, dtype)
        self.conv2 = Conv(fold(spectral.conv2, block.bn_g), dtype, relu=relu)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        total = self.fu(x)
        if self.lfu is not None:
            total += self.lfu(quadrants(x[:, : x.shape[1] // 4])).tile(1, 1, 2, 2)
        x += total
        return self.conv2(x)


class FusedFFC(nn.Module):
    """``FFCBlock`` with global input: ReLU(BatchNorm(FFC(local, global))) + what is to be added.

    local'  = ReLU(conv(cat(local, global))),   global' = ReLU(conv(local) + SpectralTransform(global))
    """

    def __init__(self, block: FFCBlock, dtype: torch.dtype) -> None:
        super().__init__()
        to_local, l2g = fold_to_local(block), block.ffc.convl2g
        self.to_local = None if to_local is None else Conv(to_local, dtype, relu=True)
        # the shift of bn_g is in the spectral transform, which every global output has
        self.to_global = None if l2g is None else Conv(Folded(fold(l2g, block.bn_g).weight, None), dtype, relu=True)
        has_spectral = block.ffc.convg2g is not None
        self.spectral = FusedSpectralTransform(block, dtype, relu=l2g is None) if has_spectral else None

    def forward(self, local: Tensor | None, glob: Tensor | None) -> Branches:
        new_global = None if self.spectral is None else self.spectral(glob)
        if local is None or self.to_local is None:
            return None, new_global
        both = local if glob is None else torch.cat([local, glob], dim=1)
        padded = F.pad(both.to(self.to_local.dtype), (1, 1, 1, 1), mode="reflect")
        del both
        new_local = self.to_local(padded)
        if self.to_global is not None and new_global is not None:
            new_global = self.to_global.add_to(new_global, channels_last(padded[:, : local.shape[1]]))
        return new_local, new_global


class FusedFFCResnetBlock(nn.Module):
    """x + FFC(FFC(x)) on both branches; the branches that come in are overwritten with what comes out."""

    def __init__(self, block: FFCResnetBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv1, self.conv2 = FusedFFC(block.conv1, dtype), FusedFFC(block.conv2, dtype)

    def forward(self, branches: Branches) -> Branches:
        new = self.conv2(*self.conv1(*branches))
        for old, change in zip(branches, new, strict=True):
            if old is not None:
                old += change
        return branches

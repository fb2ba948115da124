"""The FFC of a fused network: two merged convolutions in place of three, and planes that are never permuted."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.fast.folding import fold_to_local
from lama.fast.fused_layers import Conv, channels_last, pixels_first, planes_first
from lama.fast.winograd_kernel import Kernel
from lama.fast.winograd_matmul import winograd_conv
from lama.models.ffc import FFCBlock, FFCResnetBlock, FourierUnit, SpectralTransform, quadrants
from lama.models.folding import Folded, fold

GROUP = 4_000_000  # numbers that are transformed at once, at most
Branches = tuple[Tensor | None, Tensor | None]  # (local, global), channels-last; None where a branch has no channels


class FusedFourierUnit(nn.Module):
    """``FourierUnit``: contiguous (B, C, H, W) float32 -> the same.

    A complex number is the real and the imaginary part beside each other. So the spectrum with its channels last *is*
    the interleaved planes of the convolution, channels last, and back; nothing is taken apart or permuted. The
    transform is float32 whatever ``dtype`` the convolution has. Of a large image some channels at a time are
    transformed and some rows at a time convolved, in place: beside ``x`` and the answer one copy is in memory, not
    four.
    """

    def __init__(self, unit: FourierUnit, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = Conv(fold(unit.conv_layer, unit.bn), dtype, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        parts = min(channels, -(-x.numel() // GROUP))
        if parts == 1:
            return self._back(self._convolve(self._there(x)), width)
        spectrum = torch.empty((batch, height, width // 2 + 1, channels), dtype=torch.complex64, device=x.device)
        for some, there in zip(x.chunk(parts, dim=1), spectrum.chunk(parts, dim=3), strict=True):
            there.copy_(self._there(some))
        for rows in spectrum.chunk(parts, dim=1):
            rows.copy_(self._convolve(rows))
        out = torch.empty_like(x)
        for some, back in zip(spectrum.chunk(parts, dim=3), out.chunk(parts, dim=1), strict=True):
            back.copy_(self._back(some, width))
        return out

    def _there(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H, W // 2 + 1, C) complex."""
        return pixels_first(torch.fft.rfft2(x, norm="ortho")).permute(0, 2, 3, 1)

    def _convolve(self, spectrum: Tensor) -> Tensor:
        planes = torch.view_as_real(spectrum).flatten(3).permute(0, 3, 1, 2)  # (B, 2 C, H, W // 2 + 1)
        planes = self.conv(planes).permute(0, 2, 3, 1).float()
        return torch.view_as_complex(planes.unflatten(3, (-1, 2)))

    def _back(self, spectrum: Tensor, width: int) -> Tensor:
        """(B, H, W // 2 + 1, C) complex -> (B, C, H, W)."""
        planes = planes_first(spectrum.permute(0, 3, 1, 2))
        return torch.fft.irfft2(planes, s=(spectrum.shape[1], width), norm="ortho")


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
        x = planes_first(self.conv1(x)).float()
        total = self.fu(x)
        if self.lfu is not None:
            total += self.lfu(quadrants(x[:, : x.shape[1] // 4])).tile(1, 1, 2, 2)
        total += x
        return self.conv2(pixels_first(total.to(self.conv2.dtype)))


class FusedFFC(nn.Module):
    """``FFCBlock`` with global input: ReLU(BatchNorm(FFC(local, global))), and the trunk added to it.

    local'  = ReLU(conv(cat(local, global))),   global' = ReLU(conv(local) + SpectralTransform(global))
    """

    def __init__(self, block: FFCBlock, dtype: torch.dtype, kernel: Kernel | None) -> None:
        super().__init__()
        to_local, l2g = fold_to_local(block), block.ffc.convl2g
        has_spectral = block.ffc.convg2g is not None
        self.spectral = FusedSpectralTransform(block, dtype, relu=l2g is None) if has_spectral else None
        # the shift of bn_g is in the spectral transform, which every global output has
        to_global = None if l2g is None else Folded(fold(l2g, block.bn_g).weight, None)
        convs = [conv for conv in (to_local, to_global) if conv is not None]
        self.winograd = winograd_conv(convs, dtype, kernel, relu=True)
        if self.winograd is None:
            self.to_local = None if to_local is None else Conv(to_local, dtype, relu=True)
            self.to_global = None if to_global is None else Conv(to_global, dtype, relu=True)

    def forward(self, branches: Branches, trunk: Branches | None = None) -> Branches:
        """``trunk`` is overwritten with the result."""
        local, glob = branches
        new_global = None if self.spectral is None else self.spectral(glob)
        if local is not None and self.winograd is not None:
            parts = [part for part in branches if part is not None]
            n = len(parts)
            new = self.winograd(parts, [None, new_global][:n], None if trunk is None else trunk[:n])
            return new[0], new[1] if n == 2 else None
        new_local = None
        if local is not None:
            new_local, new_global = self._convolve(local, glob, new_global)
        if trunk is None:
            return new_local, new_global
        for old, change in zip(trunk, (new_local, new_global), strict=True):
            if old is not None and change is not None:
                old += change
        return trunk

    def _convolve(self, local: Tensor, glob: Tensor | None, new_global: Tensor | None) -> Branches:
        assert self.to_local is not None
        both = local if glob is None else torch.cat([local, glob], dim=1)
        padded = F.pad(both.to(self.to_local.dtype), (1, 1, 1, 1), mode="reflect")
        del both
        new_local = self.to_local(padded)
        if self.to_global is not None and new_global is not None:
            new_global = self.to_global.add_to(new_global, channels_last(padded[:, : local.shape[1]]))
        return new_local, new_global


class FusedFFCResnetBlock(nn.Module):
    """x + FFC(FFC(x)) on both branches; the branches that come in are overwritten with what comes out."""

    def __init__(self, block: FFCResnetBlock, dtype: torch.dtype, kernel: Kernel | None) -> None:
        super().__init__()
        self.conv1, self.conv2 = FusedFFC(block.conv1, dtype, kernel), FusedFFC(block.conv2, dtype, kernel)

    def forward(self, branches: Branches) -> Branches:
        return self.conv2(self.conv1(branches), trunk=branches)

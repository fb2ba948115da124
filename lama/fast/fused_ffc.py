"""LaMa-Fourier as a fused network: two merged convolutions in place of three, and spectra that are never permuted."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.fast.chunked import PaddedConv
from lama.fast.fused_generator import FusedGenerator
from lama.fast.fused_layers import Conv, channels_last, pixels_first, planes_first
from lama.fast.winograd import WinogradConv
from lama.fast.winograd_kernel import Kernel
from lama.models.ffc import Branches, FFCBlock, FFCResnetBlock, FourierUnit, SpectralTransform, quadrants
from lama.models.folding import Folded, fold

GROUP = 4_000_000  # values that are transformed at once, at most


def fused_ffc_resnet(generator: Any, dtype: torch.dtype, kernel: Kernel | None) -> FusedGenerator:
    """The fast equivalent of an ``FFCResNetGenerator``; see ``fuse``."""
    encoder, blocks, decoder = generator.stages()
    layers = [layer for layer in encoder if isinstance(layer, FFCBlock)]
    fused = [FusedFFCResnetBlock(block, dtype, kernel) for block in blocks]
    convs = [_downward(layer, dtype) for layer in layers]
    return FusedGenerator(generator, convs, fused, decoder, dtype, local=layers[-1].ffc.out_local)


def _downward(block: FFCBlock, dtype: torch.dtype) -> PaddedConv:
    """An FFC without global input: both of its output branches as one convolution, local channels first."""
    pairs = [(block.ffc.convl2l, block.bn_l), (block.ffc.convl2g, block.bn_g)]
    convs = [(conv, norm) for conv, norm in pairs if conv is not None]
    folded = [fold(conv, norm) for conv, norm in convs]
    biases = [part.weight.new_zeros(len(part.weight)) if part.bias is None else part.bias for part in folded]
    both = Folded(torch.cat([part.weight for part in folded]), torch.cat(biases))
    return PaddedConv(Conv(both, dtype, stride=convs[0][0].stride[0], relu=True))


def _fold_to_local(block: FFCBlock) -> Folded | None:
    """conv_ll(local) + conv_gl(global) as one convolution of cat(local, global); None without local channels."""
    parts = [fold(conv, block.bn_l) for conv in (block.ffc.convl2l, block.ffc.convg2l) if conv is not None]
    return Folded(torch.cat([part.weight for part in parts], 1), parts[0].bias) if parts else None


class FusedFourierUnit(nn.Module):
    """``FourierUnit``: contiguous (B, C, H, W) float32 -> the same.

    In memory, a complex number is its real part, then its imaginary part. A spectrum with channels last therefore *is*
    the interleaved planes of the convolution with channels last, and nothing is permuted. The transform is float32 for
    every ``dtype`` of the convolution. A large image is transformed some channels at a time and convolved some rows at
    a time, in place: memory holds one copy in addition to input and output.
    """

    def __init__(self, unit: FourierUnit, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = Conv(fold(unit.conv_layer, unit.bn), dtype, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        parts = min(channels, -(-x.numel() // GROUP))
        if parts == 1:
            return self._inverse(self._convolve(self._transform(x)), width)
        spectrum = torch.empty((batch, height, width // 2 + 1, channels), dtype=torch.complex64, device=x.device)
        for planes, target in zip(x.chunk(parts, dim=1), spectrum.chunk(parts, dim=3), strict=True):
            target.copy_(self._transform(planes))
        for rows in spectrum.chunk(parts, dim=1):
            rows.copy_(self._convolve(rows))
        out = torch.empty_like(x)
        for source, planes in zip(spectrum.chunk(parts, dim=3), out.chunk(parts, dim=1), strict=True):
            planes.copy_(self._inverse(source, width))
        return out

    def _transform(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H, W // 2 + 1, C) complex."""
        return pixels_first(torch.fft.rfft2(x, norm="ortho")).permute(0, 2, 3, 1)

    def _convolve(self, spectrum: Tensor) -> Tensor:
        planes = torch.view_as_real(spectrum).flatten(3).permute(0, 3, 1, 2)  # (B, 2 C, H, W // 2 + 1)
        planes = (
            self.conv(planes).permute(0, 2, 3, 1).float().contiguous()
        )  # no copy where convolutions keep the layout
        return torch.view_as_complex(planes.unflatten(3, (-1, 2)))

    def _inverse(self, spectrum: Tensor, width: int) -> Tensor:
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
    """``FFCBlock`` with global input: ReLU(BatchNorm(FFC(local, global))), then the residual is added.

    local'  = ReLU(conv(cat(local, global))),   global' = ReLU(conv(local) + SpectralTransform(global))
    """

    def __init__(self, block: FFCBlock, dtype: torch.dtype, kernel: Kernel | None) -> None:
        super().__init__()
        to_local, l2g = _fold_to_local(block), block.ffc.convl2g
        has_spectral = block.ffc.convg2g is not None
        self.spectral = FusedSpectralTransform(block, dtype, relu=l2g is None) if has_spectral else None
        # the shift of bn_g is part of the spectral transform, which every global output has
        to_global = None if l2g is None else Folded(fold(l2g, block.bn_g).weight, None)
        convs = [conv for conv in (to_local, to_global) if conv is not None]
        self.winograd = WinogradConv(kernel, convs, relu=True) if kernel is not None and convs else None
        if self.winograd is None:
            self.to_local = None if to_local is None else Conv(to_local, dtype, relu=True)
            self.to_global = None if to_global is None else Conv(to_global, dtype, relu=True)

    def forward(self, branches: Branches, residual: Branches | None = None) -> Branches:
        """Branches are channels-last; ``residual`` is overwritten with the result."""
        local, glob = branches
        new_global = None if self.spectral is None else self.spectral(glob)
        if local is not None and self.winograd is not None:
            parts = [part for part in branches if part is not None]
            n = len(parts)
            new = self.winograd(parts, [None, new_global][:n], None if residual is None else residual[:n])
            return new[0], new[1] if n == 2 else None
        new_local = None
        if local is not None:
            new_local, new_global = self._convolve(local, glob, new_global)
        if residual is None:
            return new_local, new_global
        for old, change in zip(residual, (new_local, new_global), strict=True):
            if old is not None and change is not None:
                old += change
        return residual

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
    """x + FFC(FFC(x)) on both branches; the input branches are overwritten with the output."""

    def __init__(self, block: FFCResnetBlock, dtype: torch.dtype, kernel: Kernel | None) -> None:
        super().__init__()
        self.conv1, self.conv2 = FusedFFC(block.conv1, dtype, kernel), FusedFFC(block.conv2, dtype, kernel)

    def forward(self, branches: Branches) -> Branches:
        return self.conv2(self.conv1(branches), residual=branches)

"""Fast Fourier convolutions: receptive fields of the whole image from the first layers on.

Paper: Suvorov et al., WACV 2022, section 2.2 and figure 2; the operator is Chi et al., "Fast Fourier Convolution",
NeurIPS 2020. Attribute names match the published checkpoints: their weights load without conversion.

Shapes: B batch, C channels, (H, W) space; the half spectrum of a real signal has W // 2 + 1 columns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.conventions import at_least_float32, without_autocast
from lama.models.layers import ReflectedConv2d, reflect

Branches = tuple[Tensor | None, Tensor | None]  # (local, global); a branch without channels is None


class FourierUnit(nn.Module):
    """1 x 1 convolution, BatchNorm and ReLU in the frequency domain: (B, C_in, H, W) -> (B, C_out, H, W).

    Figure 2 (c): real FFT over (H, W) with orthonormal scaling; real and imaginary parts become channels,
    *interleaved* (2c is the real part of channel c, 2c + 1 its imaginary part; the text of the paper
    concatenates them); convolution, normalisation, ReLU; inverse FFT. Every output pixel sees every input pixel.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * in_channels, 2 * out_channels, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm2d(2 * out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # float32 at least: cuFFT supports half precision only for powers of two, and bfloat16 not at all.
        with without_autocast(x):
            spectrum = torch.fft.rfftn(at_least_float32(x), dim=(-2, -1), norm="ortho")  # (B, C, H, W//2+1) complex
            # With channels last, a complex number already is a pair of interleaved planes.
            spectrum = spectrum.permute(0, 2, 3, 1).contiguous()
        planes = torch.view_as_real(spectrum).flatten(3).permute(0, 3, 1, 2)  # (B, 2C, H, W//2+1)
        planes = self.relu(self.bn(self.conv_layer(planes)))
        with without_autocast(x):
            planes = at_least_float32(planes).permute(0, 2, 3, 1).contiguous().unflatten(3, (-1, 2))
            spectrum = torch.view_as_complex(planes).permute(0, 3, 1, 2)
            out = torch.fft.irfftn(spectrum, s=(height, width), dim=(-2, -1), norm="ortho")
        return out.to(x.dtype)


class SpectralTransform(nn.Module):
    """The global-to-global path of an FFC, figure 2 (b): reduce to C/2, FourierUnit with a skip, expand.

    (B, C_in, H, W) -> (B, C_out, H, W). ``enable_lfu`` adds a local unit (Chi et al., section 3.2). Its input is the
    first quarter of the channels, with the four quadrants of the image stacked on the channel axis; its output is
    tiled 2 x 2. H and W must then be even. Raises ValueError if sizes do not divide.
    """

    def __init__(self, in_channels: int, out_channels: int, enable_lfu: bool = False) -> None:
        super().__init__()
        hidden = out_channels // 2
        if enable_lfu and hidden % 4:
            raise ValueError(f"generator.enable_lfu: {hidden} channels of the Fourier unit do not divide by 4")
        self.conv1 = nn.Sequential(
            nn.Conv2d(in_channels, hidden, kernel_size=1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)
        )
        self.fu = FourierUnit(hidden, hidden)
        self.lfu = FourierUnit(hidden, hidden) if enable_lfu else None
        self.conv2 = nn.Conv2d(hidden, out_channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        out = x + self.fu(x)
        if self.lfu is not None:
            out = out + self.lfu(quadrants(x[:, : x.shape[1] // 4])).tile(1, 1, 2, 2)
        return self.conv2(out)


def quadrants(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 4 C, H / 2, W / 2): top left, bottom left, top right, bottom right."""
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(
            f"the local Fourier unit needs an even height and width, got {tuple(x.shape[-2:])}: pad the input to a "
            "multiple of the generator's pad_multiple"
        )
    height, width = x.shape[-2] // 2, x.shape[-1] // 2  # slices, since chunks export badly to ONNX
    halves = torch.cat([x[..., :height, :], x[..., height:, :]], dim=1)
    return torch.cat([halves[..., :width], halves[..., width:]], dim=1)


class FFC(nn.Module):
    """Fast Fourier convolution, figure 2 (a): a local and a global branch that exchange information.

    local'  = conv_ll(local) + conv_gl(global)
    global' = conv_lg(local) + SpectralTransform(global)

    ``ratio_in`` and ``ratio_out`` are the shares of channels that are global. Convolutions have no bias and
    reflect their borders. Raises ValueError for a stride together with global input, which LaMa never uses.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        ratio_in: float,  # share of global channels in the input, 0..1
        ratio_out: float,  # share of global channels in the output, 0..1
        stride: int = 1,
        padding: int = 0,
        enable_lfu: bool = False,
    ) -> None:
        super().__init__()
        if stride != 1 and ratio_in > 0:
            raise ValueError(f"FFC: stride {stride} needs ratio_in = 0, got {ratio_in}")
        in_global, out_global = int(in_channels * ratio_in), int(out_channels * ratio_out)
        in_local, out_local = in_channels - in_global, out_channels - out_global

        def conv(n_in: int, n_out: int) -> nn.Conv2d | None:
            if n_in == 0 or n_out == 0:
                return None
            return ReflectedConv2d(n_in, n_out, kernel_size, stride=stride, padding=padding, bias=False)

        self.convl2l = conv(in_local, out_local)
        self.convl2g = conv(in_local, out_global)
        self.convg2l = conv(in_global, out_local)
        self.convg2g = SpectralTransform(in_global, out_global, enable_lfu) if in_global and out_global else None
        self.out_local, self.out_global = out_local, out_global

    def forward(self, x: Tensor | Branches) -> Branches:
        """A single tensor is a local branch without a global one."""
        local, glob = x if isinstance(x, tuple) else (x, None)
        to_local, to_glob = self.convolutions(local, glob)
        return to_local, _add(to_glob, _apply(self.convg2g, glob))

    def convolutions(self, local: Tensor | None, glob: Tensor | None) -> Branches:
        """conv_ll(local) + conv_gl(global), and conv_lg(local): the parts of an FFC without a spectrum."""
        l2l, l2g = self._from_local(local)
        return _add(l2l, _apply(self.convg2l, glob)), l2g

    def _from_local(self, local: Tensor | None) -> Branches:
        """conv_ll(local) and conv_lg(local). If both exist they are one convolution, which reads its input once."""
        if self.convl2l is None or self.convl2g is None or local is None:
            return _apply(self.convl2l, local), _apply(self.convl2g, local)
        padding = int(self.convl2l.padding[0])
        padded = reflect(local, [padding] * 4)
        weight = torch.cat([self.convl2l.weight, self.convl2g.weight])
        both = F.conv2d(padded, weight, stride=self.convl2l.stride)
        l2l, l2g = both.split([self.out_local, self.out_global], dim=1)
        return l2l, l2g


def _apply(layer: nn.Module | None, x: Tensor | None) -> Tensor | None:
    return None if layer is None or x is None else layer(x)


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


class FFCBlock(nn.Module):
    """FFC, BatchNorm, ReLU on each branch (``FFC_BN_ACT`` of the official code)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        ratio_in: float,
        ratio_out: float,
        stride: int = 1,
        padding: int = 0,
        enable_lfu: bool = False,
    ) -> None:
        super().__init__()
        self.ffc = FFC(in_channels, out_channels, kernel_size, ratio_in, ratio_out, stride, padding, enable_lfu)
        self.bn_l = nn.BatchNorm2d(self.ffc.out_local) if self.ffc.out_local else None
        self.bn_g = nn.BatchNorm2d(self.ffc.out_global) if self.ffc.out_global else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor | Branches) -> Branches:
        local, glob = self.ffc(x)
        return _apply(self.relu, _apply(self.bn_l, local)), _apply(self.relu, _apply(self.bn_g, glob))


class FFCResnetBlock(nn.Module):
    """x + f(x) on both branches, f two 3 x 3 FFC blocks; no activation after the sum, as published."""

    def __init__(self, channels: int, ratio: float, enable_lfu: bool = False) -> None:
        super().__init__()
        self.conv1 = FFCBlock(channels, channels, 3, ratio, ratio, padding=1, enable_lfu=enable_lfu)
        self.conv2 = FFCBlock(channels, channels, 3, ratio, ratio, padding=1, enable_lfu=enable_lfu)

    def forward(self, x: Branches) -> Branches:
        local, glob = self.conv2(self.conv1(x))
        return _add(x[0], local), _add(x[1], glob)


class ConcatBranches(nn.Module):
    """(local, global) -> one tensor (B, C, H, W), local channels first."""

    def forward(self, x: Branches) -> Tensor:
        return torch.cat([branch for branch in x if branch is not None], dim=1)

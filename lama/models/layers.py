"""Parts that the generators of the paper share: reflected borders, the decoder, and the cut into three stages."""

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lama.conventions import at_least_float32, without_autocast

Stages = tuple[nn.Module, list[nn.Module], nn.Module]  # encoder, residual blocks, decoder: interfaces.StagedGenerator


class StagedNetwork(nn.Module):
    """A generator whose layers are ``model``; the first of its ``n_blocks`` blocks is layer ``_first_block``."""

    model: nn.Sequential
    config: dict[str, Any]
    _first_block: int

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return self.model(x)[..., :height, :width]

    def stages(self) -> Stages:
        """The layers before the blocks, the blocks, and the layers after them; nothing is copied."""
        first, last = self._first_block, self._first_block + self.config["n_blocks"]
        return self.model[:first], list(self.model)[first:last], self.model[last:]


def reflect(x: Tensor, padding: Sequence[int]) -> Tensor:
    """Mirror (left, right, top, bottom) pixels without repeating the edge; keeps the dtype, also under autocast."""
    with without_autocast(x):
        return F.pad(x, list(padding), mode="reflect")


class ReflectionPad2d(nn.ReflectionPad2d):
    """(B, C, H, W) -> (B, C, H + 2 p, W + 2 p) in the dtype of the input, also under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        return reflect(x, self.padding)


class ReflectedConv2d(nn.Conv2d):
    """A convolution with mirrored borders: (B, C, H, W) -> (B, O, H', W'); padding is less than H and W."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **settings: Any) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding_mode="reflect", **settings)

    def forward(self, x: Tensor) -> Tensor:
        down, across = (int(n) for n in self.padding)
        padded = reflect(x, (across, across, down, down))
        return F.conv2d(padded, self.weight, self.bias, self.stride, dilation=self.dilation)


class Sigmoid(nn.Sigmoid):
    """In float32 for any input dtype: bfloat16 has 128 values between 1/2 and 1, too few for an image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(at_least_float32(x))


def check_sizes(ngf: int, n_downsampling: int, n_blocks: int) -> None:
    """Raise ValueError unless each is at least 1."""
    if min(ngf, n_downsampling, n_blocks) < 1:
        got = f"{ngf}, {n_downsampling}, {n_blocks}"
        raise ValueError(f"generator: expected ngf, n_downsampling and n_blocks of at least 1, got {got}")


def level_widths(ngf: int, n_downsampling: int, max_features: int) -> list[int]:
    """Channels at every resolution, finest first: doubled by each downsampling, never more than ``max_features``."""
    return [min(max_features, ngf * 2**i) for i in range(n_downsampling + 1)]


def decoder(widths: Sequence[int], output_nc: int, upsampling: str = "transposed") -> list[nn.Module]:
    """(B, widths[-1], h, w) -> (B, output_nc, 2^n h, 2^n w) in [0, 1]: n upsampling steps, a 7 x 7, a sigmoid.

    ``upsampling`` is one of ``UPSAMPLING``. ``transposed``: a transposed convolution of stride 2, as published; each of
    its four output phases has weights of its own, and constant features can give a grid of period 2^n.
    ``resize``: a 3 x 3 convolution, then bilinear interpolation; constant features give a constant image, whatever the
    weights are (Odena et al., "Deconvolution and checkerboard artifacts", Distill 2016). Both cost the same products.
    """
    layers: list[nn.Module] = []
    for i in reversed(range(len(widths) - 1)):
        layers += [*UPSAMPLING[upsampling](widths[i + 1], widths[i]), nn.ReLU(inplace=True)]
    return [*layers, ReflectionPad2d(3), nn.Conv2d(widths[0], output_nc, 7), Sigmoid()]


def _transposed(in_channels: int, out_channels: int) -> list[nn.Module]:
    up = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
    return [up, nn.BatchNorm2d(out_channels)]


def _resize(in_channels: int, out_channels: int) -> list[nn.Module]:
    """BatchNorm comes before the interpolation, which is a quarter of the work and the same function in eval mode."""
    conv = ReflectedConv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)]


UPSAMPLING: dict[str, Callable[[int, int], list[nn.Module]]] = {"transposed": _transposed, "resize": _resize}

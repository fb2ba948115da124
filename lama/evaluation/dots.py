"""Grids of dots that a decoder leaves in a filled hole: energy at spatial periods of 2, 4 and 8 pixels.

Odena et al., "Deconvolution and checkerboard artifacts", Distill 2016, show where such grids come from. A generator
with three upsampling steps of factor 2 can repeat itself every 2, 4 or 8 pixels. Natural texture has energy at these
frequencies too, so the measure looks at peaks: a frequency of the grid against its neighbours in the spectrum.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lama.interfaces import ImageMetric

WINDOW = 32  # pixels; four periods of 8, which makes every frequency of a grid a bin of the transform
STEP = 8  # pixels from one window to the next
COVERED = 0.5  # the share of a window's weight that must lie inside the region
FLOOR = (0.5 / 255) ** 2  # variance of invisible white noise, added to both energies


class Dots(ImageMetric):
    """peak(completed, hole) / max(1, peak(target, hole)) for one period: about 1 without a grid, more with one.

    ``score`` takes completed and target (B, 3, H, W) in [0, 1] and mask (B, 1, H, W). It gives (B,), each above 0; nan
    if no window lies in the hole. A photograph with JPEG blocks may have peaks of its own, and a fill may have as much.
    """

    higher_is_better, bounds = False, (0.0, math.inf)
    period: ClassVar[int]

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return peak(completed, mask, self.period) / peak(target, mask, self.period).clamp(min=1)


class Dots2(Dots):
    """The grid that the last upsampling step can leave."""

    label, period = "dots, 2 px", 2


class Dots4(Dots):
    """The grid that the last two upsampling steps can leave."""

    label, period = "dots, 4 px", 4


class Dots8(Dots):
    """The grid that all three upsampling steps can leave."""

    label, period = "dots, 8 px", 8


def peak(image: Tensor, region: Tensor, period: int) -> Tensor:
    """(energy at the period + FLOOR) / (energy near it + FLOOR): (B, 3, H, W), (B, 1, H, W) -> (B,), above 0.

    The local mean over the region is subtracted from the luminance. Every window w of 32 x 32 pixels, Hann times
    region, gives the power |DFT(w y)|^2 / sum w^2, weighted by the response of the squared gradient, which flattens the
    spectrum of photographs. The energy at the period is the mean over the frequencies (i, j) / period that no shorter
    period has. The energy near it is the mean over the frequencies two bins away, outside the main lobe of the Hann
    window. For a frequency on an axis these lie on the same axis, because photographs have more energy on both axes.
    """
    pairs = zip(image.double(), (region > 0.5).double(), strict=True)
    energies = torch.stack([_energies(*pair) for pair in pairs])
    energies = energies * _response().to(energies)  # (B, 32, 32)
    at, beside = _bins(period)
    floor = FLOOR * _response().mean()
    on = torch.stack([energies[:, i, j] for i, j in at]).mean(dim=0)
    off = torch.stack([energies[:, i, j] for i, j in beside]).mean(dim=0)
    return (on + floor) / (off + floor)


def _energies(image: Tensor, region: Tensor) -> Tensor:
    """The mean power at every frequency over the windows inside the region, (32, 32); nan if there is none."""
    red, green, blue = image
    luminance = (0.299 * red + 0.587 * green + 0.114 * blue)[None, None]
    residual = (luminance - _local_mean(luminance, region[None])) * region
    pad = [n for side in (image.shape[2], image.shape[1]) for n in (0, max(0, WINDOW - side))]
    hann = torch.hann_window(WINDOW, dtype=image.dtype, device=image.device)
    hann = hann[:, None] * hann
    inside = _windows(F.pad(region[None], pad)) * hann  # (N, 32, 32)
    values = _windows(F.pad(residual, pad)) * hann
    covered = inside.sum(dim=(1, 2)) / hann.sum()
    weight = torch.where(covered >= COVERED, covered, 0)
    if image.device.type == "cpu" and weight.any():  # less work; a GPU would make the host wait
        inside, values, weight = inside[weight > 0], values[weight > 0], weight[weight > 0]
    power = torch.fft.fft2(values).abs().square()
    each = weight / inside.square().sum(dim=(1, 2)).clamp(min=1e-12)
    return torch.einsum("nhw,n->hw", power, each) / weight.sum()  # 0 / 0 without windows


def _local_mean(luminance: Tensor, region: Tensor) -> Tensor:
    """The mean over the region's pixels under a tent of 15 pixels, which keeps nothing of a period of 2, 4 or 8."""
    return _tent(luminance * region) / _tent(region).clamp(min=1e-12)


def _tent(x: Tensor) -> Tensor:
    """Convolve (B, 1, H, W) with a tent of 15 x 15 pixels: along one axis, then along the other."""
    tent = 8 - (torch.arange(15, dtype=x.dtype, device=x.device) - 7).abs()
    along_rows = F.conv2d(x, tent.view(1, 1, 1, 15), padding=(0, 7))
    return F.conv2d(along_rows, tent.view(1, 1, 15, 1), padding=(7, 0))


def _windows(x: Tensor) -> Tensor:
    """(1, 1, H, W) -> (N, 32, 32)."""
    return x[0, 0].unfold(0, WINDOW, STEP).unfold(1, WINDOW, STEP).flatten(0, 1)


def _response() -> Tensor:
    """The response of a squared gradient at every frequency, (32, 32), between 0 and 2."""
    wave = torch.sin(torch.pi * torch.arange(WINDOW, dtype=torch.float64) / WINDOW).square()
    return wave[:, None] + wave


def _bins(period: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The bins (row, column) of a period that no shorter one has, and the bins two steps away."""
    step, coarser = WINDOW // period, 2 * WINDOW // period  # of the period, and of half of it
    grid = [(i, j) for i in range(0, WINDOW, step) for j in range(0, WINDOW, step)]
    at = [(i, j) for i, j in grid if (i % coarser or j % coarser) and (i, j) != (0, 0)]
    beside = []
    for i, j in at:
        if i:
            beside += [(i - 2, j), ((i + 2) % WINDOW, j)]
        if j:
            beside += [(i, j - 2), (i, (j + 2) % WINDOW)]
    return at, beside

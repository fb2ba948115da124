"""Pixel metrics: L1 and PSNR, over the whole image or inside the hole."""

from typing import ClassVar

from torch import Tensor

from lama.interfaces import ImageMetric


def mean_over_pixels(per_pixel: Tensor, mask: Tensor, hole_only: bool) -> Tensor:
    """Average (B, C, H, W) over the image or over the hole: (B,); nan for an image without a hole."""
    if not hole_only:
        return per_pixel.flatten(1).mean(dim=1)
    inside = (per_pixel * mask).flatten(1).sum(dim=1)
    return inside / (mask.flatten(1).sum(dim=1) * per_pixel.shape[1])


class L1(ImageMetric):
    """Mean absolute error of the whole image, in units of [0, 1]."""

    label, higher_is_better, bounds = "L1", False, (0.0, 1.0)
    hole_only: ClassVar = False

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return mean_over_pixels((completed - target).abs(), mask, self.hole_only)


class L1Hole(L1):
    """L1 of the pixels in the hole."""

    label, hole_only = "L1 (hole)", True
    in_report, example_rank = True, 5


class PSNR(ImageMetric):
    """Peak signal-to-noise ratio in dB: -10 log10(MSE over RGB) per image, with peak 1; 100 dB for equal images."""

    label, higher_is_better, bounds, unit = "PSNR", True, (0.0, 100.0), "dB"
    in_report = True
    hole_only: ClassVar = False

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        error = mean_over_pixels((completed.double() - target.double()).square(), mask.double(), self.hole_only)
        return -10 * error.clamp(min=1e-10).log10()


class PSNRHole(PSNR):
    """PSNR of the pixels in the hole."""

    label, hole_only, example_rank = "PSNR (hole)", True, 3

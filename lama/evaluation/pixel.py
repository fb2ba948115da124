"""Pixel metrics: L1 and PSNR, over the whole image, inside the hole or outside it."""

from typing import ClassVar, Literal

from torch import Tensor

from lama.interfaces import ImageMetric

Region = Literal["image", "hole", "background"]


def mean_over_pixels(per_pixel: Tensor, mask: Tensor, region: Region) -> Tensor:
    """Average (B, C, H, W) over the image, the hole or the background, which is the rest: (B,); nan for no pixel."""
    if region == "image":
        return per_pixel.flatten(1).mean(dim=1)
    chosen = mask if region == "hole" else 1 - mask
    return (per_pixel * chosen).flatten(1).sum(dim=1) / (chosen.flatten(1).sum(dim=1) * per_pixel.shape[1])


class L1(ImageMetric):
    """Mean absolute error of the whole image, in units of [0, 1]."""

    label, higher_is_better, bounds = "L1", False, (0.0, 1.0)
    region: ClassVar[Region] = "image"

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return mean_over_pixels((completed - target).abs(), mask, self.region)


class L1Hole(L1):
    """L1 of the pixels in the hole."""

    label, region = "L1 (hole)", "hole"
    in_report, example_rank = True, 5


class PSNR(ImageMetric):
    """Peak signal-to-noise ratio in dB: -10 log10(MSE over RGB) per image, with peak 1; 100 dB for equal images."""

    label, higher_is_better, bounds, unit = "PSNR", True, (0.0, 100.0), "dB"
    in_report = True
    region: ClassVar[Region] = "image"

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        error = mean_over_pixels((completed.double() - target.double()).square(), mask.double(), self.region)
        return -10 * error.clamp(min=1e-10).log10()


class PSNRHole(PSNR):
    """PSNR of the pixels in the hole."""

    label, region, example_rank = "PSNR (hole)", "hole", 3


class PSNRBackground(PSNR):
    """PSNR of the pixels outside the hole, against a clean plate: shadows and reflections that a removal left."""

    label, region, in_report = "PSNR (background)", "background", False

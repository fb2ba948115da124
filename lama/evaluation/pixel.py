"""Pixel metrics: L1 and PSNR, over the whole image or inside the hole."""

from torch import Tensor

from lama.evaluation.per_image import mean_over_pixels


class L1:
    """Mean absolute error, in units of [0, 1]."""

    def __init__(self, hole_only: bool = False) -> None:
        self.hole_only = hole_only

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return mean_over_pixels((completed - target).abs(), mask, self.hole_only)


class PSNR:
    """Peak signal-to-noise ratio in dB, -10 log10(MSE) with peak 1, one mean squared error per image over RGB.

    Equal images score 100 dB, the ceiling.
    """

    def __init__(self, hole_only: bool = False) -> None:
        self.hole_only = hole_only

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        error = mean_over_pixels((completed.double() - target.double()).square(), mask.double(), self.hole_only)
        return -10 * error.clamp(min=1e-10).log10()

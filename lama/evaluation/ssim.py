"""Structural similarity (Wang et al., 2004) as LaMa computes it, and as scikit-image does."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from torch import Tensor

from lama.evaluation.pixel import Region, mean_over_pixels
from lama.interfaces import UNRANKED, ImageMetric


class SSIM(ImageMetric):
    """Gaussian window of 11 pixels with sigma 1.5, **zero padding**, constants .01^2 and .03^2, mean over RGB."""

    label, higher_is_better, bounds = "SSIM", True, (-1.0, 1.0)
    in_report, monitor_rank = True, 5
    region: ClassVar[Region] = "image"

    def __init__(self) -> None:
        offsets = torch.arange(11, dtype=torch.float64) - 5
        gauss = torch.exp(-(offsets**2) / (2 * 1.5**2))
        gauss = gauss / gauss.sum()
        self.window = (gauss[:, None] * gauss[None, :]).float().repeat(3, 1, 1, 1)  # (3, 1, 11, 11)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return mean_over_pixels(self._map(completed, target), mask, self.region)

    def _map(self, x: Tensor, y: Tensor) -> Tensor:
        """SSIM of every pixel and channel, (B, 3, H, W)."""
        if self.window.device != x.device:  # once: the host waits where it sends something to a GPU
            self.window = self.window.to(x.device)
        window = self.window.to(x.dtype)

        def blur(image: Tensor) -> Tensor:
            return F.conv2d(image, window, padding=5, groups=3)

        mean_x, mean_y = blur(x), blur(y)
        var_x = blur(x * x) - mean_x**2
        var_y = blur(y * y) - mean_y**2
        cov = blur(x * y) - mean_x * mean_y
        c1, c2 = 0.01**2, 0.03**2
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        return luminance * (2 * cov + c2) / (var_x + var_y + c2)


class SSIMHole(SSIM):
    """SSIM of the pixels in the hole; their windows reach beyond it."""

    label, region = "SSIM (hole)", "hole"
    monitor_rank, example_rank = UNRANKED, 4


class SSIMBackground(SSIM):
    """SSIM of the pixels outside the hole; their windows reach into it."""

    label, region, in_report = "SSIM (background)", "background", False
    monitor_rank = UNRANKED


class ScikitImageSSIM(ImageMetric):
    """SSIM of scikit-image: Gaussian window of sigma 1.5, population covariance, without the border of 5 pixels."""

    label, higher_is_better, bounds = "SSIM (scikit-image)", True, (-1.0, 1.0)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        pairs = zip(completed.double().cpu().numpy(), target.double().cpu().numpy(), strict=True)
        options = {"channel_axis": 0, "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5}
        options["use_sample_covariance"] = False
        return torch.tensor([structural_similarity(a, b, **options) for a, b in pairs], dtype=torch.float64)

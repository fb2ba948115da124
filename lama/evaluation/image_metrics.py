"""Metrics of single images: L1, PSNR, SSIM (Wang et al., 2004) and LPIPS v0.1 (Zhang et al., CVPR 2018)."""

from math import inf
from typing import ClassVar

import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from torch import Tensor

from lama.interfaces import UNRANKED, ImageMetric
from lama.lpips_network import file_of, lpips_network


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
    label, hole_only, example_rank = "PSNR (hole)", True, 3


class SSIM(ImageMetric):
    """Gaussian window of 11 pixels with sigma 1.5, **zero padding**, constants .01^2 and .03^2, mean over RGB."""

    label, higher_is_better, bounds = "SSIM", True, (-1.0, 1.0)
    in_report, monitor_rank = True, 5
    hole_only: ClassVar = False

    def __init__(self) -> None:
        offsets = torch.arange(11, dtype=torch.float64) - 5
        gauss = torch.exp(-(offsets**2) / (2 * 1.5**2))
        gauss = gauss / gauss.sum()
        self.window = (gauss[:, None] * gauss[None, :]).float().repeat(3, 1, 1, 1)  # (3, 1, 11, 11)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return mean_over_pixels(self._map(completed, target), mask, self.hole_only)

    def _map(self, x: Tensor, y: Tensor) -> Tensor:
        """SSIM of every pixel and channel, (B, 3, H, W)."""
        window = self.window.to(x)

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

    label, hole_only = "SSIM (hole)", True
    monitor_rank, example_rank = UNRANKED, 4


class ScikitImageSSIM(ImageMetric):
    """SSIM of scikit-image: Gaussian window of sigma 1.5, population covariance, without the border of 5 pixels."""

    label, higher_is_better, bounds = "SSIM (scikit-image)", True, (-1.0, 1.0)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        pairs = zip(completed.double().cpu().numpy(), target.double().cpu().numpy(), strict=True)
        options = {"channel_axis": 0, "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5}
        options["use_sample_covariance"] = False
        return torch.tensor([structural_similarity(a, b, **options) for a, b in pairs], dtype=torch.float64)


class LPIPS(ImageMetric):
    """Distance of VGG16 features over the whole image, as LaMa reports it.

    ``weights`` is a backbone as torchvision releases it (``features.<i>...``) or a whole LPIPS state dict; None looks
    in the cache. Raises MissingWeightsError where neither exists, ValueError for a file of another network.
    """

    label, higher_is_better, bounds = "LPIPS", False, (0.0, inf)  # the paper's name
    weight_files = ("lpips_vgg",)
    in_report, monitor_rank, example_rank = True, 2, 0
    backbone: ClassVar = "vgg"

    def __init__(self, weights: str | None = None) -> None:
        self.network = lpips_network(self.backbone, file_of(self.backbone, weights))

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        network = self.network.to(completed.device)
        distance: Tensor = network(completed, target, normalize=True)
        return distance.flatten()

    @staticmethod
    def text(value: float) -> str:
        """Three decimals, as the paper prints it."""
        return f"{value:.3f}"


class LPIPSAlex(LPIPS):
    """LPIPS with AlexNet, which its authors recommend for comparisons."""

    label, weight_files, backbone = "LPIPS (alex)", ("lpips_alex",), "alex"
    in_report, monitor_rank, example_rank = False, 3, 1


class LPIPSSqueeze(LPIPS):
    """LPIPS with SqueezeNet, a file of 5 MB."""

    label, weight_files, backbone = "LPIPS (squeeze)", ("lpips_squeeze",), "squeeze"
    in_report, monitor_rank, example_rank = False, 4, 2

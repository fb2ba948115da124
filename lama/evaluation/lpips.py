"""LPIPS v0.1 (Zhang et al., CVPR 2018) as a metric."""

from math import inf
from typing import ClassVar

from torch import Tensor

from lama.interfaces import ImageMetric
from lama.lpips_network import file_of, lpips_network


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

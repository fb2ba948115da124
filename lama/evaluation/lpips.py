"""LPIPS v0.1 (Zhang et al., CVPR 2018) as a metric: of the whole image, of the hole, of the rest."""

from math import inf
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lama.evaluation.pixel import mean_over_pixels
from lama.interfaces import UNRANKED, FamilyMetric
from lama.lpips_network import file_of, lpips_network


class LPIPS(FamilyMetric):
    """Distance of VGG16 features over the whole image, as LaMa reports it.

    ``weights`` is a backbone as torchvision releases it (``features.<i>...``) or a whole LPIPS state dict; None looks
    in the cache. Raises MissingWeightsError where neither exists, ValueError for a file of another network.
    """

    label, higher_is_better, bounds = "LPIPS", False, (0.0, inf)  # the paper's name
    weight_files = ("lpips_vgg",)
    in_report, monitor_rank, example_rank = True, 2, 0
    backbone: ClassVar = "vgg"
    family, column = "lpips_vgg by region", 0

    def __init__(self, weights: str | None = None) -> None:
        self.network = lpips_network(self.backbone, file_of(self.backbone, weights))

    def scores(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """(B, 3): LPIPS of the image, of the hole and of the background, from one pass of the network.

        LPIPS of a region is the mean over its pixels of the map that ``lpips.LPIPS(spatial=True)`` gives: the distances
        of each layer, enlarged to the size of the image, summed. Features at its edge see what lies beyond it. nan for
        an empty region.
        """
        network: Any = self.network.to(completed.device)
        layers: list[Tensor] = []
        hooks = [one.register_forward_hook(lambda _, __, out: layers.append(out)) for one in network.lins]
        try:
            whole = network(completed, target, normalize=True).flatten()
        finally:
            for hook in hooks:
                hook.remove()
        size = mask.shape[2:]
        enlarged = [F.interpolate(layer, size, mode="bilinear", align_corners=False) for layer in layers]
        maps = torch.stack(enlarged).sum(dim=0)
        return torch.stack([whole, *(mean_over_pixels(maps, mask, region) for region in ("hole", "background"))], dim=1)

    @staticmethod
    def text(value: float) -> str:
        """Three decimals, as the paper prints it."""
        return f"{value:.3f}"


class _OfHole:
    """The second column of ``LPIPS.scores``; it neither chooses checkpoints nor examples."""

    column = 1
    in_report, monitor_rank, example_rank = False, UNRANKED, UNRANKED


class _OfBackground(_OfHole):
    column = 2


class LPIPSHole(_OfHole, LPIPS):
    """LPIPS of the pixels in the hole."""

    label = "LPIPS (hole)"


class LPIPSBackground(_OfBackground, LPIPS):
    """LPIPS of the pixels outside the hole."""

    label = "LPIPS (background)"


class LPIPSAlex(LPIPS):
    """LPIPS with AlexNet, which its authors recommend for comparisons."""

    label, weight_files, backbone = "LPIPS (alex)", ("lpips_alex",), "alex"
    family = "lpips_alex by region"
    in_report, monitor_rank, example_rank = False, 3, 1


class LPIPSAlexHole(_OfHole, LPIPSAlex):
    """LPIPS with AlexNet, of the pixels in the hole."""

    label = "LPIPS (alex, hole)"


class LPIPSAlexBackground(_OfBackground, LPIPSAlex):
    """LPIPS with AlexNet, of the pixels outside the hole."""

    label = "LPIPS (alex, background)"


class LPIPSSqueeze(LPIPS):
    """LPIPS with SqueezeNet, a file of 5 MB."""

    label, weight_files, backbone = "LPIPS (squeeze)", ("lpips_squeeze",), "squeeze"
    family = "lpips_squeeze by region"
    in_report, monitor_rank, example_rank = False, 4, 2


class LPIPSSqueezeHole(_OfHole, LPIPSSqueeze):
    """LPIPS with SqueezeNet, of the pixels in the hole."""

    label = "LPIPS (squeeze, hole)"


class LPIPSSqueezeBackground(_OfBackground, LPIPSSqueeze):
    """LPIPS with SqueezeNet, of the pixels outside the hole."""

    label = "LPIPS (squeeze, background)"

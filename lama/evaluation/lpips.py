"""LPIPS v0.1 (Zhang et al., CVPR 2018) as a metric."""

from torch import Tensor

from lama import pretrained
from lama.lpips_network import file_of, lpips_network


class LPIPS:
    """Distance of deep features over the whole image; LaMa reports the ``vgg`` trunk, others ``alex``.

    ``weights`` is a trunk as torchvision releases it (``features.<i>...``) or a whole LPIPS state dict; None looks in
    the cache. Raises MissingWeightsError where neither is there, ValueError where the file is something else.
    """

    def __init__(self, trunk: str = "vgg", weights: str | None = None) -> None:
        file = file_of(trunk, weights)
        self.network = lpips_network(trunk, file)
        self.sha256 = pretrained.sha256_of(file)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        network = self.network.to(completed.device)
        distance: Tensor = network(completed, target, normalize=True)
        return distance.flatten()

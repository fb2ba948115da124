"""LPIPS as a perceptual loss that needs no ADE20K encoder: its SqueezeNet is a file of 5 MB."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lama.conventions import at_least_float32, composite
from lama.interfaces import StepContext
from lama.losses.frozen import Frozen
from lama.lpips_network import file_of, lpips_network

EPSILON = 1e-10  # added to the length of a feature, as in the lpips package


class LPIPSLoss(nn.Module):
    """weight * mean over the batch of LPIPS(completed, image) (Zhang et al., CVPR 2018).

    LPIPS is the sum over the backbone's layers of the mean over pixels of sum_c w_c (f_c / |f| - g_c / |g|)^2. The loss
    takes the composite, so its whole gradient is inside the hole. Autocast sets the precision of the features; the rest
    is float32. LPIPS with the same backbone is a biased metric for a network trained with this loss.
    """

    def __init__(
        self,
        weight: float = 10.0,
        backbone: Literal["squeeze", "vgg", "alex"] = "squeeze",
        weights: str | None = None,  # path of the backbone's file; None = look in the cache, then download
    ) -> None:
        super().__init__()
        network = lpips_network(backbone, file_of(backbone, weights, download=True))
        self.weight = weight
        self.scale = Frozen(network.scaling_layer)  # type: ignore[arg-type]
        self.backbone = Frozen(network.net)  # type: ignore[arg-type]
        self.heads = Frozen(network.lins)  # type: ignore[arg-type]

    @classmethod
    def preflight(
        cls, backbone: Literal["squeeze", "vgg", "alex"] = "squeeze", weights: str | None = None, **_: Any
    ) -> None:
        """Raise MissingWeightsError if the backbone's file is not on this machine and cannot be downloaded."""
        file_of(backbone, weights, download=True)

    def forward(self, context: StepContext) -> Tensor:
        completed = composite(context.predicted, context.image, context.mask)
        return self.weight * self.per_image(completed, context.image).mean()

    def per_image(self, completed: Tensor, image: Tensor) -> Tensor:
        """LPIPS of each image: (B, 3, H, W) in [0, 1], twice -> (B,)."""
        with torch.no_grad():
            truth = self._features(image)
        heads = self.heads.network
        distances = [
            (at_least_float32(head.model[-1].weight) * (f - g).square()).sum(dim=1).mean(dim=(1, 2))  # type: ignore
            for head, f, g in zip(heads, self._features(completed), truth, strict=True)  # type: ignore[call-overload]
        ]
        return torch.stack(distances).sum(dim=0)

    def _features(self, image: Tensor) -> list[Tensor]:
        """The features of each layer of the backbone, normalised to length 1 at each pixel."""
        features = [at_least_float32(f) for f in self.backbone(self.scale.network(2 * image - 1))]
        return [f / (torch.linalg.vector_norm(f, dim=1, keepdim=True) + EPSILON) for f in features]

"""LPIPS as a perceptual loss, for whoever has no ADE20K encoder: its SqueezeNet is a file of 5 MB."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lama.conventions import at_least_float32, composite
from lama.interfaces import StepContext
from lama.losses.frozen import Frozen
from lama.lpips_network import file_of, lpips_network

EPSILON = 1e-10  # the lpips package's, beside the length of a feature


class LPIPSLoss(nn.Module):
    """weight * mean over the batch of LPIPS(completed, image) (Zhang et al., CVPR 2018).

    sum over the trunk's layers of mean over pixels of sum over channels of w (f / |f| - g / |g|)^2. It looks at the
    composite, so that all of its gradient is inside the hole. Features are computed as autocast says, the rest is
    float32. A network trained with it is not to be judged by LPIPS on the same trunk alone.
    """

    def __init__(
        self,
        weight: float = 10.0,
        trunk: Literal["squeeze", "vgg", "alex"] = "squeeze",
        weights: str | None = None,  # path of the trunk's file; None = look in the cache, then download
    ) -> None:
        super().__init__()
        network = lpips_network(trunk, file_of(trunk, weights, download=True))
        self.weight = weight
        self.scale = Frozen(network.scaling_layer)  # type: ignore[arg-type]
        self.trunk = Frozen(network.net)  # type: ignore[arg-type]
        self.heads = Frozen(network.lins)  # type: ignore[arg-type]

    @classmethod
    def preflight(
        cls, trunk: Literal["squeeze", "vgg", "alex"] = "squeeze", weights: str | None = None, **_: Any
    ) -> None:
        """Raise MissingWeightsError where the trunk's file is not on this machine and cannot be had."""
        file_of(trunk, weights, download=True)

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
        """Of the trunk's layers, each pixel's of length 1."""
        features = [at_least_float32(f) for f in self.trunk(self.scale.network(2 * image - 1))]
        return [f / (torch.linalg.vector_norm(f, dim=1, keepdim=True) + EPSILON) for f in features]

"""Feature matching on the discriminator (Wang et al., pix2pixHD, CVPR 2018; the paper's L_DiscPL)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.conventions import at_least_float32
from lama.interfaces import StepContext


class FeatureMatchingLoss(nn.Module):
    """weight * mean over the discriminator's levels of MSE(features of the fake, features of the real)."""

    def __init__(
        self,
        weight: float = 100.0,
        known_only: bool = False,  # weight the squared error by 1 - mask, resized bilinearly to each level
    ) -> None:
        super().__init__()
        self.weight = weight
        self.known_only = known_only

    def forward(self, context: StepContext) -> Tensor:
        levels = []
        for fake, real in zip(context.fake_features, context.real_features, strict=True):
            error = (at_least_float32(fake) - at_least_float32(real)).square()
            if self.known_only:
                mask = F.interpolate(context.mask, size=fake.shape[-2:], mode="bilinear", align_corners=False)
                error = error * (1 - mask)
            levels.append(error.mean())
        return self.weight * torch.stack(levels).mean()

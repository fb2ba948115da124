"""Perceptual losses on frozen networks, for RGB in [0, 1]: the paper's high receptive field (HRF) loss, and VGG19."""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama import pretrained
from lama.conventions import at_least_float32
from lama.interfaces import StepContext
from lama.losses.frozen import Frozen
from lama.losses.mean_square import MeanSquare
from lama.models import SegmentationEncoder, VGG19Features


class _FrozenEncoderLoss(nn.Module):
    """A frozen encoder with ImageNet normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.encoder = Frozen(encoder)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def encode(self, image: Tensor) -> list[Tensor]:
        return self.encoder((image - self.mean) / self.std)


class HRFPerceptualLoss(_FrozenEncoderLoss):
    """weight * sum over the four stages of a dilated ResNet50 for segmentation of MSE(features), section 2.3.

    The paper's equation 1 takes the mean over stages, the published trainings the sum. This is the sum: weight 30 here
    is 120 in the paper's formula.
    """

    FILES: ClassVar = {  # (trained_on, dilated): name in lama.pretrained
        ("ade20k", True): "ade20k_encoder",
        ("ade20k", False): "ade20k_encoder_plain",
        ("imagenet", True): "resnet50_imagenet",
        ("imagenet", False): "resnet50_imagenet",
    }

    def __init__(
        self,
        weight: float = 30.0,
        weights: str | None = None,  # path of the encoder's file; None = look in the cache
        trained_on: Literal[
            "ade20k", "imagenet"
        ] = "ade20k",  # segmentation as in the paper, or classification (table 3)
        dilated: bool = True,  # False: a plain ResNet50, with strides in place of dilations (table 3)
        batch_statistics: bool = False,  # True: in training, BatchNorm uses and updates the statistics of the batch, as
        # the official code did under Lightning 1.2; False: frozen statistics, as its authors intended
        encoder: nn.Module | None = None,  # None = the pretrained SegmentationEncoder
    ) -> None:
        if encoder is None:
            encoder = pretrained.load_into(SegmentationEncoder(dilated), self.FILES[trained_on, dilated], weights)
        if isinstance(encoder, SegmentationEncoder) and not batch_statistics:
            encoder = encoder.folded()
        super().__init__(encoder, weight)
        self.batch_statistics = batch_statistics

    @classmethod
    def preflight(cls, weights: str | None = None, trained_on: str = "ade20k", dilated: bool = True, **_: Any) -> None:
        """Raise FileNotFoundError if the encoder's file is not on this machine and cannot be downloaded."""
        pretrained.require(cls.FILES[trained_on, dilated], weights)

    def mean_square(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The mean squared error (scalar) of the features of one stage, (B, C, h, w) each."""
        return MeanSquare.apply(predicted, target)

    def train(self, mode: bool = True) -> "HRFPerceptualLoss":
        self.encoder.network.train(mode and self.batch_statistics)
        return super().train(mode)

    def forward(self, context: StepContext) -> Tensor:
        predicted = self.encode(context.predicted)
        with torch.no_grad():
            target = self.encode(context.image)
        levels = [self.mean_square(p, t) for p, t in zip(predicted, target, strict=True)]
        return self.weight * torch.stack(levels).sum()


class VGGPerceptualLoss(_FrozenEncoderLoss):
    """weight * sum over images and 13 VGG19 layers of the mean squared error on the **known** region.

    The feature error is multiplied by 1 - mask. The sum runs over the batch: the scale depends on the batch size. Both
    are as in the official ablation (table 3).
    """

    def __init__(
        self,
        weight: float = 0.03,
        weights: str | None = None,  # path of torchvision's vgg19-dcbb9e9d.pth; None = look in the cache
        encoder: nn.Module | None = None,  # None = the pretrained VGG19Features
    ) -> None:
        if encoder is None:
            encoder = pretrained.load_into(VGG19Features(), "vgg19", weights)
        super().__init__(encoder, weight)

    @classmethod
    def preflight(cls, weights: str | None = None, **_: Any) -> None:
        """Raise FileNotFoundError if the file of VGG19 is not on this machine and cannot be downloaded."""
        pretrained.require("vgg19", weights)

    def forward(self, context: StepContext) -> Tensor:
        return self.weight * self.per_image(context.predicted, context.image, context.mask).sum()

    def per_image(self, predicted: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of each image without the weight, (B,); over the whole image if ``mask`` is None."""
        total = predicted.new_zeros(predicted.shape[0])
        for p, t in zip(self.encode(predicted), self.encode(image), strict=True):
            error = (at_least_float32(p) - at_least_float32(t)).square()
            if mask is not None:
                error = error * (1 - F.interpolate(mask, size=p.shape[-2:], mode="bilinear", align_corners=False))
            total = total + error.flatten(1).mean(dim=1)
        return total

"""Fréchet distance of DINOv2 features (Stein et al., NeurIPS 2023), which ranks generators more as people do."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lama import pretrained
from lama.evaluation.cache import Store
from lama.evaluation.eight_bits import to_8_bit
from lama.evaluation.features import Features
from lama.evaluation.fid import FID
from lama.evaluation.transformers import IMAGENET_MEAN, IMAGENET_STD, PATCH, dinov2, normalised
from lama.files import sha256_of
from lama.interfaces import SetFeatures

SIDE = 16  # patches: 224 pixels


class DinoV2(Features):
    """The class token (B, 1024) of DINOv2 ViT-L/14 at 224 x 224 pixels.

    As in the published code (dgm-eval), Pillow's bicubic filter resizes the whole image, without its proportions, to
    8-bit values.
    """

    def __init__(self, weights: str | None, store: Store) -> None:
        file = pretrained.require("dinov2_vitl14", weights, download=False)
        super().__init__(dinov2("dinov2_vitl14", file, SIDE, offset=0.1), sha256_of(file), "dinov2, 224 pixels", store)

    def vectors(self, image: Tensor) -> Tensor:
        size = (PATCH * SIDE, PATCH * SIDE)
        small = [np.array(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in to_8_bit(image)]
        prepared = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).to(image.device) / 255
        tokens: Tensor = self.network.forward_features(normalised(prepared, IMAGENET_MEAN, IMAGENET_STD))
        return tokens[:, 0]


class FDDinoV2(FID):
    """Fréchet distance between the completed and the true images, of DINOv2 features."""

    label, in_report = "FD (DINOv2)", False
    weight_files, network = ("dinov2_vitl14",), "dinov2"

    def measure(self, features: SetFeatures, interval: bool) -> dict[str, Any]:
        return super().measure(replace(features, covariance="N-1"), interval)  # as published, under every protocol

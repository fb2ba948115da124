"""ReMOVE (Chandrasekar et al., CVPR Workshops 2024): does a filled hole look like its surroundings to SAM?"""

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lama import pretrained
from lama.evaluation.eight_bits import each_image
from lama.evaluation.transformers import IMAGENET_MEAN, IMAGENET_STD, normalised, sam_encoder
from lama.interfaces import ImageArray, ImageMetric, MaskArray

MARGIN = 16  # pixels around the hole


class ReMOVE(ImageMetric):
    """Cosine between the mean SAM features in the hole and outside it, in the square around it; no truth is used.

    As in the published code: the square's corner is the upper left corner of the hole, less 16 pixels, its side the
    hole's longer side and 32 pixels; less at the edge of the image, where it is cut off. Pillow's bilinear filter makes
    its longer side 1024 pixels. The encoder of SAM ViT-H gives 64 x 64 features. The mask is resized to 64 x 64 by
    Pillow's bicubic filter, and a feature is in the hole where it is then full white, outside elsewhere.

    ``score`` takes the completed images (B, 3, H, W) in [0, 1] and the mask (B, 1, H, W), 1 = hole, and gives (B,) in
    [-1, 1]; nan for an image without a hole, and where no feature is in the hole or none outside.
    """

    label, higher_is_better, bounds = "ReMOVE", True, (-1.0, 1.0)
    weight_files = ("sam_vit_h",)

    def __init__(self, weights: str | None = None) -> None:
        file = pretrained.require("sam_vit_h", weights, download=False)
        self.network, self.side = sam_encoder("sam_vit_h", file)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        self.network.to(completed.device)
        return each_image(partial(self._of, device=completed.device), completed, mask)

    def _of(self, image: ImageArray, hole: MaskArray, device: torch.device) -> float:
        if not hole.any():
            return math.nan
        box = square(hole)
        with torch.no_grad():
            features = self.network.forward_features(self._prepared(image[box]).to(device))[0]  # (C, h, w)
        size = features.shape[:0:-1]
        white = np.asarray(Image.fromarray(hole[box].astype(np.uint8) * 255).resize(size, Image.Resampling.BICUBIC))
        inside = torch.from_numpy(white == 255).flatten()
        vectors = features.double().cpu().flatten(1)
        if inside.all() or not inside.any():
            return math.nan
        means = vectors[:, inside].mean(dim=1), vectors[:, ~inside].mean(dim=1)
        return float(F.cosine_similarity(*means, dim=0))

    def _prepared(self, image: ImageArray) -> Tensor:
        """SAM's input (1, 3, side, side) from (h, w, 3): the longer side resized, normalised, the rest 0."""
        height, width = (int(n * (self.side / max(image.shape[:2])) + 0.5) for n in image.shape[:2])
        small = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        prepared = normalised(torch.from_numpy(small).permute(2, 0, 1)[None] / 255, IMAGENET_MEAN, IMAGENET_STD)
        return F.pad(prepared, (0, self.side - width, 0, self.side - height))


def square(hole: MaskArray) -> tuple[slice, slice]:
    """(rows, columns) of the square around a hole (H, W) with a pixel; at the edge of the image a part of it."""
    (top, bottom), (left, right) = ((int(index.min()), int(index.max())) for index in hole.nonzero())
    height, width = hole.shape
    room = min(left, top, height - bottom, width - right)
    margin = MARGIN if min(left, top) >= MARGIN and bottom + MARGIN <= height and right + MARGIN <= width else room
    size = max(bottom - top, right - left) + 1 + 2 * margin
    return slice(top - margin, top - margin + size), slice(left - margin, left - margin + size)

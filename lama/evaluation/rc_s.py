"""RC-S (Li et al., PROVE, arXiv 2605.14534, 2026): does a filled hole look like its surroundings to DINOv2?"""

import math
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from skimage.measure import label, regionprops
from torch import Tensor

from lama import pretrained
from lama.evaluation.eight_bits import each_image
from lama.evaluation.transformers import IMAGENET_MEAN, IMAGENET_STD, PATCH, dinov2, normalised
from lama.interfaces import ImageArray, ImageMetric, MaskArray

WIDTH = 1536  # channels of DINOv2 ViT-g/14
SIDE = 32  # patches: 448 pixels
WINDOW, STEP = 8, 4  # patches: the published 16 and 8 of 64, at 32
LEAST = 5  # a window counts with more patches than this in the hole, and outside or none outside
SMALLEST = 200  # pixels: smaller parts of a hole are left out, if one is larger
SIGMA, SCALE, TAU = 10.0, 1000.0, 3.0
FILL = (123, 116, 103)  # the mean colour of ImageNet


class RCS(ImageMetric):
    """exp(-MMD / 3) of DINOv2's patch tokens in the hole and around it, over sliding windows; no truth is used.

    For each connected part of the hole (neighbours in a row or a column), the square around it and a third more is
    resized to 448 pixels. The tokens of DINOv2 ViT-g/14 are scaled to length 1. Windows of 8 x 8 tokens, 4 apart, with
    more than 5 tokens in the hole and more than 5 outside give the squared maximum mean discrepancy (biased, Gaussian
    kernel of sigma 10, times 1000) between the two. A window that lies in the hole is compared with all tokens outside
    it. The mean over the windows makes the score of a part, the mean over the parts that of the image.

    ``score`` takes the completed images (B, 3, H, W) in [0, 1] and the mask (B, 1, H, W), 1 = hole, and gives (B,) in
    [0, 1]; nan for an image without a hole or without such a window. Raises MissingWeightsError where there is no file,
    ValueError for another network than the giant one.
    """

    label, higher_is_better, bounds = "RC-S", True, (0.0, 1.0)
    weight_files = ("dinov2_vitg14",)

    def __init__(self, weights: str | None = None) -> None:
        file = pretrained.require("dinov2_vitg14", weights, download=False)
        self.network = dinov2("dinov2_vitg14", file, SIDE)
        if self.network.embed_dim != WIDTH:  # no sha256 of the file is known: nothing else would tell
            raise ValueError(
                f"weights.dinov2_vitg14: {file} is a DINOv2 of {self.network.embed_dim} channels; expected the giant "
                f"one, of {WIDTH}: {pretrained.WEIGHT_FILES['dinov2_vitg14'].url}"
            )

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        self.network.to(completed.device)
        return each_image(partial(self._of, device=completed.device), completed, mask)

    def _of(self, image: ImageArray, hole: MaskArray, device: torch.device) -> float:
        values = [self._of_part(image[box], hole[box], device) for box in boxes(hole)]
        return float(np.mean(values)) if values else math.nan

    def _of_part(self, image: ImageArray, hole: MaskArray, device: torch.device) -> float:
        """The score of one square, (S, S, 3) and (S, S)."""
        side, full = int(len(image) * (PATCH * SIDE / len(image))), PATCH * SIDE  # 447 for some S, as published
        edge = (0, full - side) * 2
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
        small = cv2.copyMakeBorder(small, *edge, cv2.BORDER_CONSTANT, value=FILL)
        inside = cv2.resize(hole.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
        inside = cv2.copyMakeBorder(inside, *edge, cv2.BORDER_CONSTANT, value=0)
        prepared = torch.from_numpy(small).permute(2, 0, 1)[None].to(device) / 255
        with torch.no_grad():
            tokens = self.network.forward_features(normalised(prepared, IMAGENET_MEAN, IMAGENET_STD))[0, 1:]
        patches = F.max_pool2d(torch.from_numpy(inside)[None].float(), PATCH).flatten() > 0
        return coherence(tokens.double().cpu(), patches)


def boxes(hole: MaskArray) -> list[tuple[slice, slice]]:
    """(rows, columns) of the square around each part of a hole (H, W), widened by a third as far as the image goes."""
    parts = regionprops(label(hole, connectivity=1))
    least = min(SMALLEST, max((part.area for part in parts), default=0))
    return [_square(part.bbox, hole.shape) for part in parts if part.area >= least]


def _square(bbox: tuple[int, int, int, int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    top, left, bottom, right = bbox
    size = max(bottom - top, right - left)
    starts = [round((low + high) / 2 - size / 2) for low, high in ((top, bottom), (left, right))]
    room = [min(start, side - start - size) for start, side in zip(starts, shape, strict=True)]
    extra = max(0, min(round(size / 3), *room, size // 2))
    length = min(size + 2 * extra, *shape)
    starts = [max(0, min(max(0, start - extra), side - length)) for start, side in zip(starts, shape, strict=True)]
    rows, columns = (slice(start, start + length) for start in starts)
    return rows, columns


def coherence(tokens: Tensor, inside: Tensor) -> float:
    """The score of a square from its tokens (SIDE^2, D) and whether they touch the hole (SIDE^2,)."""
    tokens = F.normalize(tokens, dim=1)
    surroundings = tokens[~inside]
    number = torch.arange(SIDE * SIDE).view(SIDE, SIDE)
    discrepancies = []
    for window in number.unfold(0, WINDOW, STEP).unfold(1, WINDOW, STEP).reshape(-1, WINDOW * WINDOW):
        within = inside[window]
        n_in, n_out = int(within.sum()), int((~within).sum())
        if n_in > LEAST and n_out > LEAST:
            discrepancies.append(_discrepancy(tokens[window[within]], tokens[window[~within]]))
        elif n_in > LEAST and n_out == 0 and len(surroundings):
            discrepancies.append(_discrepancy(tokens[window], surroundings))
    return math.exp(-max(0.0, float(np.mean(discrepancies))) / TAU) if discrepancies else math.nan


def _discrepancy(x: Tensor, y: Tensor) -> float:
    """SCALE x the biased estimate of the squared maximum mean discrepancy of (N, D) and (M, D), rows of length 1."""
    xx, yy, xy = (torch.exp((a @ b.T - 1) / SIGMA**2).mean() for a, b in ((x, x), (y, y), (x, y)))
    return float(SCALE * (xx + yy - 2 * xy))

"""CMMD (Jayasumana et al., CVPR 2024): maximum mean discrepancy of CLIP embeddings."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lama import pretrained
from lama.evaluation.cache import Store
from lama.evaluation.eight_bits import to_8_bit
from lama.evaluation.features import Features
from lama.evaluation.statistics import set_interval
from lama.evaluation.transformers import clip, normalised
from lama.files import sha256_of
from lama.interfaces import SetFeatures, SetMetric

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's training images
SIGMA = 10.0
SCALE = 1000.0
ROWS = 1024  # rows of the kernel matrix at a time


class Clip(Features):
    """Embeddings (B, 768) of CLIP ViT-L/14 at 336 pixels, of length 1.

    As the published code does, the central square is cut out and resized to 336 pixels by Pillow's bicubic filter,
    which gives 8-bit values: the ends of a long image do not count.
    """

    def __init__(self, weights: str | None, store: Store) -> None:
        file = pretrained.require("clip_vit_l14_336", weights, download=False)
        network, self.side = clip("clip_vit_l14_336", file)
        super().__init__(network, sha256_of(file), "clip, central square", store)

    def vectors(self, image: Tensor) -> Tensor:
        small = torch.stack([_central_square(one, self.side) for one in to_8_bit(image)])
        embedding: Tensor = self.network(normalised(small.to(image.device) / 255, MEAN, STD))
        return embedding / embedding.norm(dim=1, keepdim=True)


def _central_square(image: NDArray[np.uint8], side: int) -> Tensor:
    """(H, W, 3) -> (3, side, side), 0..255."""
    height, width = image.shape[:2]
    length = min(height, width)
    top, left = (height - length) // 2, (width - length) // 2
    square = Image.fromarray(image[top : top + length, left : left + length])
    return torch.from_numpy(np.array(square.resize((side, side), Image.Resampling.BICUBIC))).permute(2, 0, 1).float()


class CMMD(SetMetric):
    """1000 x the squared maximum mean discrepancy of CLIP embeddings, with a Gaussian kernel of sigma 10."""

    label, higher_is_better, bounds = "CMMD", False, (0.0, 2 * SCALE)
    weight_files, network = ("clip_vit_l14_336",), "clip"

    def measure(self, features: SetFeatures, interval: bool) -> dict[str, Any]:
        x, y, n = torch.from_numpy(features.fake), torch.from_numpy(features.real), len(features.fake)
        result: dict[str, Any] = {"mean": float(mean_discrepancy(x, y)[0]), "n": n}
        if interval:
            result["ci95"] = set_interval(lambda drawn: mean_discrepancy(x, y, drawn).numpy(), n, at_once=True)
        return result


def mean_discrepancy(x: Tensor, y: Tensor, drawn: NDArray[np.intp] | None = None) -> Tensor:
    """SCALE (mean k(x, x) + mean k(y, y) - 2 mean k(x, y)) of features (N, D) twice: (1,), or (R,) for R resamples.

    k(a, b) = exp(-|a - b|^2 / (2 SIGMA^2)); the biased estimate, as published. ``drawn`` (R, N) holds the indices of
    each resample. All of them are computed from one pass over the kernel matrix, a block of rows at a time.
    """
    n = len(x)
    x, y = x.double(), y.double()
    counts = torch.ones(1, n, dtype=torch.float64)
    if drawn is not None:
        counts = torch.from_numpy(np.stack([np.bincount(row, minlength=n) for row in np.atleast_2d(drawn)])).double()
    total = torch.zeros(len(counts), dtype=torch.float64)
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        block = _kernel(x[rows], x) + _kernel(y[rows], y) - _kernel(x[rows], y) - _kernel(y[rows], x)
        total += ((counts[:, rows] @ block) * counts).sum(dim=1)
    return (SCALE * total / n**2).clamp(min=0)  # below 0 by rounding only: it is a squared norm


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    distance = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T
    return torch.exp(-distance / (2 * SIGMA**2))

"""What metrics that score one picture at a time have in common."""

import torch
from torch import Tensor


class PerImageMetric:
    """Keep the score of every image; ``compute`` is their mean. Sub-classes define ``score``."""

    higher_is_better: bool

    def __init__(self) -> None:
        self.values: list[float] = []  # in the order of the updates; nan where an image has no score

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] twice and the mask (B, 1, H, W) -> (B,)."""
        raise NotImplementedError

    def update(self, completed: Tensor, target: Tensor, mask: Tensor) -> None:
        with torch.no_grad():
            self.values += self.score(completed, target, mask).tolist()

    def compute(self) -> float:
        """The mean over the images that have a score; nan where none has."""
        return torch.tensor(self.values, dtype=torch.float64).nanmean().item()

    def reset(self) -> None:
        self.values = []


def mean_over_pixels(per_pixel: Tensor, mask: Tensor, hole_only: bool) -> Tensor:
    """Average (B, C, H, W) per image, over the frame or over the hole: (B,); nan for an image without a hole."""
    if not hole_only:
        return per_pixel.flatten(1).mean(dim=1)
    inside = (per_pixel * mask).flatten(1).sum(dim=1)
    return inside / (mask.flatten(1).sum(dim=1) * per_pixel.shape[1])

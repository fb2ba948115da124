"""The edge of a filled hole: does the picture change there as it should?"""

import torch
from torch import Tensor

from lama.interfaces import ImageMetric


class BoundaryError(ImageMetric):
    """Wrong steps across the edge of the hole: mean |(c_p - c_q) - (t_p - t_q)| over RGB and all pairs (p, q).

    p and q are neighbours in a row or a column, p in the hole and q outside it; c is the completed image, t the truth.
    ``score`` takes (B, 3, H, W) in [0, 1] twice and the mask (B, 1, H, W), 1 = hole; it gives (B,) in units of [0, 1];
    nan for an image whose hole has no edge.
    """

    label, higher_is_better, bounds = "boundary error", False, (0.0, 2.0)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        error = pairs = torch.zeros(len(mask), dtype=torch.float64, device=mask.device)
        difference = completed.double() - target.double()
        for dim in (2, 3):
            crossing = mask.double().diff(dim=dim).abs()
            step = difference.diff(dim=dim).abs().mean(dim=1, keepdim=True)
            error = error + (step * crossing).flatten(1).sum(dim=1)
            pairs = pairs + crossing.flatten(1).sum(dim=1)
        return error / pairs  # 0 / 0, nan, without an edge

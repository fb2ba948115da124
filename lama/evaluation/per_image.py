"""The mean that all pixel metrics take."""

from torch import Tensor


def mean_over_pixels(per_pixel: Tensor, mask: Tensor, hole_only: bool) -> Tensor:
    """Average (B, C, H, W) per image, over the frame or over the hole: (B,); nan for an image without a hole."""
    if not hole_only:
        return per_pixel.flatten(1).mean(dim=1)
    inside = (per_pixel * mask).flatten(1).sum(dim=1)
    return inside / (mask.flatten(1).sum(dim=1) * per_pixel.shape[1])

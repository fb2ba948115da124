"""Masks for outpainting: the borders of the image."""

from collections.abc import Sequence

import numpy as np

from lama.interfaces import MaskArray


class Outpainting:
    """Hide a border on some sides; ``(rng, height, width) -> bool (H, W)``, True = hole.

    Each side is hidden with its probability; if none is, one side is drawn. The width of a border is a share of the
    image, uniform between ``min_share`` and ``max_share``, and at least one pixel. Raises ValueError for empty ranges.
    """

    def __init__(
        self,
        min_share: float = 0.04,
        max_share: float = 0.25,
        sides: Sequence[float] = (0.5, 0.5, 0.5, 0.5),  # probabilities: left, top, right, bottom
    ) -> None:
        if not 0 < min_share <= max_share < 0.5:
            raise ValueError(f"masks: expected 0 < min_share <= max_share < 0.5, got {min_share} and {max_share}")
        if len(sides) != 4 or min(sides) < 0 or max(sides) > 1 or sum(sides) == 0:
            raise ValueError(f"masks.sides: expected 4 probabilities (left, top, right, bottom), got {list(sides)}")
        self.min_share = min_share
        self.max_share = max_share
        self.sides = np.asarray(sides, float)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        shares = rng.uniform(self.min_share, self.max_share, size=4)
        hidden = rng.random(4) < self.sides
        if not hidden.any():
            hidden[rng.choice(4, p=self.sides / self.sides.sum())] = True
        extents = (width, height, width, height)
        left, top, right, bottom = (
            max(1, round(share * extent)) if hide else 0
            for share, extent, hide in zip(shares.tolist(), extents, hidden.tolist(), strict=True)
        )
        mask = np.ones((height, width), np.bool_)
        mask[top : height - bottom, left : width - right] = False
        return mask

"""Samplers that wrap samplers: inverted masks, and masks with a limited area."""

import numpy as np

from lama.interfaces import MaskArray, MaskSampler
from lama.masks.growing import not_growing, scaled


class Inverted:
    """Inverts masks with a probability. Raises ValueError for a probability out of range."""

    def __init__(self, sampler: MaskSampler, probability: float = 1.0) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"masks.probability: expected a number between 0 and 1, got {probability}")
        self.sampler = not_growing(sampler)
        self.probability = probability

    def scaled(self, share: float) -> "Inverted":
        return Inverted(scaled(self.sampler, share), self.probability)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        invert = rng.random() < self.probability
        mask = self.sampler(rng, height, width)
        return ~mask if invert else mask


class AreaLimits:
    """Draws until ``min_area`` <= share of hole pixels <= ``max_area``. Raises ValueError after ``tries`` failures."""

    def __init__(self, sampler: MaskSampler, min_area: float = 0.0, max_area: float = 0.5, tries: int = 100) -> None:
        if not 0 <= min_area <= max_area <= 1 or tries < 1:
            got = f"got {min_area}, {max_area}, {tries}"
            raise ValueError(f"masks: expected 0 <= min_area <= max_area <= 1 and tries >= 1, {got}")
        self.sampler = not_growing(sampler)
        self.min_area = min_area
        self.max_area = max_area
        self.tries = tries

    def scaled(self, share: float) -> "AreaLimits":
        return AreaLimits(scaled(self.sampler, share), self.min_area, self.max_area, self.tries)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        for _ in range(self.tries):
            mask = self.sampler(rng, height, width)
            if self.min_area <= mask.mean() <= self.max_area:
                return mask
        raise ValueError(
            f"masks: none of {self.tries} covers between {self.min_area:.0%} and {self.max_area:.0%} of "
            f"{width} x {height} pixels; widen min_area and max_area"
        )

"""A mixture of samplers."""

from collections.abc import Mapping

import numpy as np

from lama.interfaces import MaskArray, MaskSampler
from lama.masks.growing import not_growing, scaled


class Mixture:
    """Draws from one of several samplers, with probabilities proportional to their weights.

    Raises ValueError for unknown names in ``weights``, for negative weights, or if all are 0.
    """

    def __init__(self, samplers: Mapping[str, MaskSampler], weights: Mapping[str, float]) -> None:
        if set(samplers) != set(weights):
            raise ValueError(f"masks.weights: expected a weight for each of {sorted(samplers)}, got {sorted(weights)}")
        total = sum(weights.values())
        if min(weights.values(), default=0) < 0 or total <= 0:
            raise ValueError(f"masks.weights: expected weights >= 0 with a positive sum, got {dict(weights)}")
        self.samplers = [not_growing(samplers[name]) for name in weights]
        self.weights = dict(weights)
        self.edges = np.cumsum([weight / total for weight in weights.values()])[:-1]

    def scaled(self, share: float) -> "Mixture":
        pairs = zip(self.weights, self.samplers, strict=True)
        return Mixture({name: scaled(sampler, share) for name, sampler in pairs}, self.weights)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        return self.samplers[int(np.searchsorted(self.edges, rng.random(), side="right"))](rng, height, width)

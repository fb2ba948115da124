"""Samplers that wrap samplers: a mixture, inverted masks, masks with a limited area, masks that grow."""

from collections.abc import Mapping

import numpy as np

from lama.interfaces import MaskArray, MaskSampler, ScalableMaskSampler, ScheduledMaskSampler


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
            f"{height} x {width} pixels; widen min_area and max_area"
        )


class Growing:
    """A sampler of strokes, boxes or their mixture; sizes and numbers grow to their full range.

    ``at(position)`` is the sampler scaled by ``start`` + (1 - ``start``) * position / ``samples``, and ``sampler``
    itself from ``samples`` on; positions are training samples, counted over all processes. A direct call uses the full
    sampler. Raises ValueError for a sampler that is not a ``ScalableMaskSampler``.
    """

    def __init__(self, sampler: MaskSampler, samples: int, start: float = 0.1) -> None:
        if samples < 1 or not 0 <= start <= 1:
            raise ValueError(f"masks: expected samples >= 1 and 0 <= start <= 1, got {samples} and {start}")
        scaled(sampler, start)
        self.sampler = sampler
        self.samples = samples
        self.start = start

    def at(self, position: int) -> MaskSampler:
        """The sampler for sample number ``position`` of the training."""
        progress = min(1.0, position / self.samples)
        return self.sampler if progress == 1 else scaled(self.sampler, self.start + (1 - self.start) * progress)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        return self.sampler(rng, height, width)


def not_growing(sampler: MaskSampler) -> MaskSampler:
    """``sampler``. Raises ValueError for one that grows: only the outermost sampler may."""
    if isinstance(sampler, ScheduledMaskSampler):
        raise ValueError("masks: expected lama.masks.Growing as the outermost sampler, got it inside another")
    return sampler


def scaled(sampler: MaskSampler, share: float) -> MaskSampler:
    """``sampler.scaled(share)``. Raises ValueError for a sampler without this method."""
    if not isinstance(sampler, ScalableMaskSampler):
        raise ValueError(f"masks: {type(sampler).__name__} cannot grow; strokes, boxes and their mixture can")
    return sampler.scaled(share)


class Mixture:
    """Draws from one of several samplers, by weight. Raises ValueError for other names, or weights below 0 or all 0."""

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

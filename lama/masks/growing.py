"""Masks that grow during training."""

import numpy as np

from lama.interfaces import MaskArray, MaskSampler, ScalableMaskSampler, ScheduledMaskSampler


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

"""Masks that grow while a training goes on."""

import numpy as np

from lama.interfaces import MaskArray, MaskSampler, ScalableMaskSampler, ScheduledMaskSampler


class Growing:
    """A sampler of strokes, boxes or their mixture whose sizes and numbers grow to their full range.

    After ``samples`` training samples (counted over all processes) it is ``sampler`` itself; before, it is scaled by
    ``start`` + (1 - ``start``) * progress. ``at`` gives the sampler of a moment; called directly, it is the full one.
    Raises ValueError for a sampler that cannot be scaled.
    """

    def __init__(self, sampler: MaskSampler, samples: int, start: float = 0.1) -> None:
        if samples < 1 or not 0 <= start <= 1:
            raise ValueError(f"masks: expected samples >= 1 and 0 <= start <= 1, got {samples} and {start}")
        scaled(sampler, start)
        self.sampler = sampler
        self.samples = samples
        self.start = start

    def at(self, position: int) -> MaskSampler:
        """The sampler for the training's sample number ``position``."""
        progress = min(1.0, position / self.samples)
        return self.sampler if progress == 1 else scaled(self.sampler, self.start + (1 - self.start) * progress)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        return self.sampler(rng, height, width)


def not_growing(sampler: MaskSampler) -> MaskSampler:
    """``sampler``; raises ValueError for one that grows, which only works as the outermost."""
    if isinstance(sampler, ScheduledMaskSampler):
        raise ValueError("masks: lama.masks.Growing belongs outside of the others, around them")
    return sampler


def scaled(sampler: MaskSampler, share: float) -> MaskSampler:
    """``sampler.scaled(share)``; raises ValueError for one that has no sizes to scale."""
    if not isinstance(sampler, ScalableMaskSampler):
        raise ValueError(f"masks: {type(sampler).__name__} cannot grow; strokes, boxes and their mixture can")
    return sampler.scaled(share)

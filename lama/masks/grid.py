"""Masks for super-resolution: a periodic grid of lines."""

import numpy as np

from lama.interfaces import MaskArray


class Grid:
    """Hide rows and columns at regular steps; ``(rng, height, width) -> bool (H, W)``, True = hole.

    For each axis the step is uniform over ``min_step .. max_step`` pixels, the width of the lines over ``min_width ..
    max_width`` (less than the step), the offset over the step. Raises ValueError for empty ranges.
    """

    def __init__(self, min_step: int = 2, max_step: int = 4, min_width: int = 1, max_width: int = 3) -> None:
        if not 1 <= min_width <= max_width or not min_width < min_step <= max_step:
            raise ValueError(
                "masks: expected 1 <= min_width <= max_width and min_width < min_step <= max_step, got widths "
                f"{min_width}..{max_width} and steps {min_step}..{max_step}"
            )
        self.min_step = min_step
        self.max_step = max_step
        self.min_width = min_width
        self.max_width = max_width

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        rows, columns = self._lines(rng, height), self._lines(rng, width)
        return rows[:, None] | columns[None, :]

    def _lines(self, rng: np.random.Generator, extent: int) -> MaskArray:
        step = int(rng.integers(self.min_step, self.max_step + 1))
        thickness = int(rng.integers(self.min_width, min(step - 1, self.max_width) + 1))
        offset = int(rng.integers(0, step))
        lines: MaskArray = (np.arange(extent) + offset) % step < thickness
        return lines

"""Masks of straight lines: boxes, the borders of the image (outpainting), a grid (super-resolution)."""

from collections.abc import Sequence

import numpy as np

from lama.interfaces import MaskArray


class Boxes:
    """Axis-parallel boxes inside a margin; ``(rng, height, width) -> bool (H, W)``, True = hole.

    Width and height are independent and uniform over ``min_size .. max_size`` pixels (limited by the margins), the
    number of boxes over ``min_times .. max_times``. Raises ValueError if no box fits.
    """

    def __init__(
        self,
        margin: int = 10,  # pixels between boxes and the border of the image
        min_size: int = 30,
        max_size: int = 100,
        min_times: int = 0,
        max_times: int = 3,
    ) -> None:
        if not 0 <= min_times <= max_times or not 1 <= min_size <= max_size or margin < 0:
            raise ValueError(
                "masks.boxes: expected 0 <= min_times <= max_times, 1 <= min_size <= max_size, margin >= 0, got "
                f"{min_times}, {max_times}, {min_size}, {max_size}, {margin}"
            )
        self.margin = margin
        self.min_size = min_size
        self.max_size = max_size
        self.min_times = min_times
        self.max_times = max_times

    def scaled(self, share: float) -> "Boxes":
        """Boxes with ``share`` (0..1) of the range of sizes and numbers."""
        size = int(self.min_size + (self.max_size - self.min_size) * share)
        times = int(self.min_times + (self.max_times - self.min_times) * share)
        return Boxes(self.margin, self.min_size, size, self.min_times, times)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        mask = np.zeros((height, width), np.bool_)
        limit = min(self.max_size + 1, height - 2 * self.margin, width - 2 * self.margin)
        if limit <= self.min_size:
            raise ValueError(
                f"masks.boxes: boxes of {self.min_size} pixels and a margin of {self.margin} need more than "
                f"{height} x {width} pixels; lower min_size or margin, or take larger crops"
            )
        for _ in range(int(rng.integers(self.min_times, self.max_times + 1))):
            w, h = rng.integers(self.min_size, limit, size=2).tolist()
            x = int(rng.integers(self.margin, width - self.margin - w + 1))
            y = int(rng.integers(self.margin, height - self.margin - h + 1))
            mask[y : y + h, x : x + w] = True
        return mask


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

"""Rectangular masks."""

from dataclasses import dataclass, replace

import numpy as np

from lama.interfaces import MaskArray


@dataclass(eq=False)
class Boxes:
    """Axis-parallel boxes inside a margin; ``(rng, height, width) -> bool (H, W)``, True = hole.

    Width and height are independent and uniform over ``min_size .. max_size`` pixels (limited by the margins), the
    number of boxes over ``min_times .. max_times``. Raises ValueError if no box fits.
    """

    margin: int = 10  # pixels between boxes and the border of the image
    min_size: int = 30
    max_size: int = 100
    min_times: int = 0
    max_times: int = 3

    def __post_init__(self) -> None:
        possible = 0 <= self.min_times <= self.max_times and 1 <= self.min_size <= self.max_size
        if not possible or self.margin < 0:
            raise ValueError(
                "masks.boxes: expected 0 <= min_times <= max_times, 1 <= min_size <= max_size, margin >= 0, got "
                f"{self.min_times}, {self.max_times}, {self.min_size}, {self.max_size}, {self.margin}"
            )

    def scaled(self, share: float) -> "Boxes":
        """Boxes with ``share`` (0..1) of the range of sizes and numbers."""
        size = int(self.min_size + (self.max_size - self.min_size) * share)
        times = int(self.min_times + (self.max_times - self.min_times) * share)
        return replace(self, max_size=size, max_times=times)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        mask = np.zeros((height, width), np.bool_)
        limit = min(self.max_size + 1, height - 2 * self.margin, width - 2 * self.margin)
        if limit <= self.min_size:
            raise ValueError(
                f"masks.boxes: boxes of {self.min_size} pixels and a margin of {self.margin} need more than "
                f"{width} x {height} pixels; lower min_size or margin, or take larger crops"
            )
        for _ in range(int(rng.integers(self.min_times, self.max_times + 1))):
            w, h = rng.integers(self.min_size, limit, size=2).tolist()
            x = int(rng.integers(self.margin, width - self.margin - w + 1))
            y = int(rng.integers(self.margin, height - self.margin - h + 1))
            mask[y : y + h, x : x + w] = True
        return mask

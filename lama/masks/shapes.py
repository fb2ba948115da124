"""Random masks: strokes, boxes, the borders of the image (outpainting), a grid (super-resolution).

Strokes are polylines drawn with a wide brush (the paper's "aggressive" masks, section 2.4 and supplement).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

from lama.interfaces import MaskArray


@dataclass
class Strokes:
    """A few polylines of 1 to 5 segments each; ``(rng, height, width) -> bool (H, W)``, True = hole.

    Every stroke starts at a random pixel; a segment has a length of 10 + U{0..max_len - 1} pixels, a brush of
    5 + U{0..max_width - 1} pixels and an angle of 0.01 + U{0..max_angle - 1} **radians**, mirrored for every other
    stroke: with ``max_angle`` 4 there are eight directions, as published. Ends are clipped to the image. The "line"
    brush draws the segments; "circle" (of that radius) and "square" (of that side) only stamp where each one starts.
    Raises ValueError for empty ranges.
    """

    max_angle: int = 4
    max_len: int = 60  # pixels
    max_width: int = 20  # pixels
    min_times: int = 0  # strokes per mask
    max_times: int = 10
    one_more: bool = True  # up to max_times + 1 strokes, as in the official code
    brush: Literal["line", "circle", "square"] = "line"

    def __post_init__(self) -> None:
        if not 0 <= self.min_times <= self.max_times or min(self.max_angle, self.max_len, self.max_width) < 1:
            raise ValueError(
                "masks.strokes: expected 0 <= min_times <= max_times and positive max_angle, max_len, max_width, got "
                f"{self.min_times}, {self.max_times}, {self.max_angle}, {self.max_len}, {self.max_width}"
            )
        if self.brush not in ("line", "circle", "square"):
            raise ValueError(f"masks.strokes.brush: expected line, circle or square, got {self.brush!r}")

    def scaled(self, share: float) -> "Strokes":
        """Strokes with ``share`` (0..1) of the length, width and number, as in the official ramp."""
        times = int(self.min_times + (self.max_times - self.min_times) * share)
        length, width = (int(max(1, value * share)) for value in (self.max_len, self.max_width))
        return replace(self, max_len=length, max_width=width, max_times=times)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        canvas = np.zeros((height, width), np.uint8)
        times = int(rng.integers(self.min_times, self.max_times + self.one_more + 1))
        starts = rng.integers(0, (width, height), size=(times, 2)).tolist()
        segments = rng.integers(1, 6, size=times).tolist()
        limits = (self.max_angle, self.max_len, self.max_width)
        draws = rng.integers(0, limits, size=(sum(segments), 3)).tolist()  # one call instead of three per segment
        for i, ((x, y), n) in enumerate(zip(starts, segments, strict=True)):
            for _ in range(n):
                turn, length, width_ = draws.pop()
                angle = 0.01 + turn
                if i % 2 == 0:
                    angle = 2 * math.pi - angle
                end_x = min(max(int(x + (10 + length) * math.sin(angle)), 0), width)
                end_y = min(max(int(y + (10 + length) * math.cos(angle)), 0), height)
                self._draw(canvas, (x, y), (end_x, end_y), 5 + width_)
                x, y = end_x, end_y
        return canvas.view(np.bool_)

    def _draw(self, canvas: np.ndarray[Any, Any], start: tuple[int, int], end: tuple[int, int], size: int) -> None:
        if self.brush == "line":
            cv2.line(canvas, start, end, 1, size)
        elif self.brush == "circle":
            cv2.circle(canvas, start, size, 1, thickness=-1)
        else:
            (x, y), half = start, size // 2
            canvas[max(0, y - half) : y + half, max(0, x - half) : x + half] = 1


@dataclass
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

"""Free-form masks: polylines drawn with a wide brush (the paper's "aggressive" masks, section 2.4 and supplement)."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

from lama.interfaces import MaskArray


@dataclass(eq=False)
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

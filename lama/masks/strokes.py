"""Free-form masks: polylines drawn with a wide brush (the paper's "aggressive" masks, section 2.4 and supplement)."""

import math

import cv2
import numpy as np

from lama.interfaces import MaskArray


class Strokes:
    """A few polylines of 1 to 5 segments each; ``(rng, height, width) -> bool (H, W)``, True = hole.

    Every stroke starts at a random pixel; a segment has a length of 10 + U{0..max_len - 1} pixels, a brush of
    5 + U{0..max_width - 1} pixels and an angle of 0.01 + U{0..max_angle - 1} **radians**, mirrored for every other
    stroke: with ``max_angle`` 4 there are eight directions, as published. Ends are clipped to the frame.
    Raises ValueError for ranges that are empty.
    """

    def __init__(
        self,
        max_angle: int = 4,
        max_len: int = 60,  # pixels
        max_width: int = 20,  # pixels
        min_times: int = 0,  # strokes per mask
        max_times: int = 10,
        one_more: bool = True,  # up to max_times + 1 strokes, an oddity of the official code that its numbers carry
    ) -> None:
        if not 0 <= min_times <= max_times or min(max_angle, max_len, max_width) < 1:
            raise ValueError(
                "masks.strokes: expected 0 <= min_times <= max_times and positive max_angle, max_len, max_width, got "
                f"{min_times}, {max_times}, {max_angle}, {max_len}, {max_width}"
            )
        self.max_angle = max_angle
        self.max_len = max_len
        self.max_width = max_width
        self.min_times = min_times
        self.max_times = max_times + one_more

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        canvas = np.zeros((height, width), np.uint8)
        times = int(rng.integers(self.min_times, self.max_times + 1))
        starts = rng.integers(0, (width, height), size=(times, 2)).tolist()
        segments = rng.integers(1, 6, size=times).tolist()
        limits = (self.max_angle, self.max_len, self.max_width)
        draws = rng.integers(0, limits, size=(sum(segments), 3)).tolist()  # one call instead of three per segment
        for i, ((x, y), n) in enumerate(zip(starts, segments, strict=True)):
            for _ in range(n):
                turn, length, brush = draws.pop()
                angle = 0.01 + turn
                if i % 2 == 0:
                    angle = 2 * math.pi - angle
                end_x = min(max(int(x + (10 + length) * math.sin(angle)), 0), width)
                end_y = min(max(int(y + (10 + length) * math.cos(angle)), 0), height)
                cv2.line(canvas, (x, y), (end_x, end_y), 1, 5 + brush)
                x, y = end_x, end_y
        return canvas.view(np.bool_)

"""Three objects to remove from photographs that scikit-image carries: what a person sees first of the demo."""

from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np
import skimage.data

from lama.interfaces import ImageArray, MaskArray


@dataclass(frozen=True)
class Removal:
    """A photograph of ``skimage.data``, and the outline of an object in it as (x, y) in pixels."""

    title: str
    photograph: str
    outline: tuple[tuple[int, int], ...]

    def image(self) -> ImageArray:
        """(H, W, 3) uint8."""
        return np.asarray(getattr(skimage.data, self.photograph)())

    def mask(self) -> MaskArray:
        """(H, W) bool, True on the object."""
        mask = np.zeros(self.image().shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.array(self.outline, np.int32)], 1)
        return mask > 0


def _circle(x: int, y: int, radius: int, corners: int = 24) -> tuple[tuple[int, int], ...]:
    angles = [2 * pi * i / corners for i in range(corners)]
    return tuple((round(x + radius * cos(a)), round(y + radius * sin(a))) for a in angles)


REMOVALS = (
    Removal("a rocket", "rocket", ((300, 120), (344, 120), (352, 405), (296, 405))),
    Removal("a model of the Space Shuttle", "astronaut", (
        (396, 0), (456, 0), (470, 60), (472, 180), (462, 285), (352, 285), (350, 215), (370, 150), (374, 40),
    )),
    Removal("the handle of a cup", "coffee", _circle(225, 275, 42)),
)  # fmt: skip

"""Perspective, affine and optical distortion and the crop in one resampling step.

The transforms of albumentations would resample the whole image up to three times before the crop. Here each pixel of
the crop is mapped back to the image and interpolated once, which is several times as fast and sharper.
"""

import math
import os
from typing import Any

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no network request for a newer version on import

import albumentations as A

Array = np.ndarray[Any, Any]


class WarpCrop(A.DualTransform):  # type: ignore[misc]
    """Distort an image and crop ``height`` x ``width`` pixels at a random place.

    In this order, each with its probability: corners moved inwards by \\|N(0, sigma)\\| of the extent with sigma ~
    U(0, ``perspective``); scale x and y by independent factors of ``scale``, rotate by +- ``rotate`` degrees, shear by
    +- ``shear`` degrees about the centre; where the image is smaller than the crop, extend it; radial distortion with
    k ~ U(+- ``optical``). The image is continued by reflection. Images are interpolated bilinearly, masks with the
    nearest pixel. A sample without any distortion is a plain crop.
    """

    def __init__(
        self,
        height: int,
        width: int,
        perspective: float = 0.06,
        p_perspective: float = 0.5,
        scale: tuple[float, float] = (0.7, 1.3),
        rotate: float = 40.0,
        shear: float = 0.1,
        p_affine: float = 0.5,
        optical: float = 0.05,
        p_optical: float = 0.5,
    ) -> None:
        super().__init__(p=1.0)
        self.height, self.width = height, width
        self.perspective, self.p_perspective = perspective, p_perspective
        self.scale, self.rotate, self.shear, self.p_affine = scale, rotate, shear, p_affine
        self.optical, self.p_optical = optical, p_optical

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        height, width = params["shape"][:2]
        rng = self.random_generator
        back = np.eye(3)  # maps coordinates of the distorted image to the image
        if rng.random() < self.p_perspective:
            back = back @ self._perspective(rng, height, width)
        if rng.random() < self.p_affine:
            back = back @ np.linalg.inv(self._affine(rng, height, width))
        canvas_height, canvas_width = max(height, self.height), max(width, self.width)
        back = back @ _shift((width - canvas_width) // 2, (height - canvas_height) // 2)  # centred
        top = int(rng.integers(0, canvas_height - self.height + 1))
        left = int(rng.integers(0, canvas_width - self.width + 1))
        if rng.random() >= self.p_optical:
            return {"back": back @ _shift(left, top), "lens": None}
        lens = float(rng.uniform(-self.optical, self.optical)), canvas_height, canvas_width, top, left
        return {"back": back, "lens": lens}

    def _perspective(self, rng: np.random.Generator, height: int, width: int) -> Array:
        inwards = np.abs(rng.normal(0, rng.uniform(0, self.perspective), size=(4, 2))) % 1
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        source = (corners + inwards * (1 - 2 * corners)) * (width, height)
        return cv2.getPerspectiveTransform((corners * (width, height)).astype(np.float32), source.astype(np.float32))

    def _affine(self, rng: np.random.Generator, height: int, width: int) -> Array:
        scale_x, scale_y = rng.uniform(self.scale[0], self.scale[1], size=2)
        angle = math.radians(rng.uniform(-self.rotate, self.rotate))
        shear_x, shear_y = np.tan(np.radians(rng.uniform(-self.shear, self.shear, size=2)))
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        matrix = np.eye(3)
        matrix[:2, :2] = rotation @ np.array([[1, shear_x], [shear_y, 1]]) @ np.diag([scale_x, scale_y])
        centre = (width - 1) / 2, (height - 1) / 2
        return _shift(*centre) @ matrix @ _shift(-centre[0], -centre[1])

    def apply(self, img: Array, back: Array, lens: Any, **params: Any) -> Array:
        return self._resample(img, back, lens, cv2.INTER_LINEAR)

    def apply_to_mask(self, mask: Array, back: Array, lens: Any, **params: Any) -> Array:
        return self._resample(mask, back, lens, cv2.INTER_NEAREST)

    def _resample(self, image: Array, back: Array, lens: Any, interpolation: int) -> Array:
        if lens is None:
            moved = back - np.eye(3)
            left, top = back[:2, 2]
            inside = 0 <= left <= image.shape[1] - self.width and 0 <= top <= image.shape[0] - self.height
            if inside and np.abs(moved[:, :2]).max() < 1e-9 and left == int(left) and top == int(top):
                return np.ascontiguousarray(image[int(top) :, int(left) :][: self.height, : self.width])
            flags = interpolation | cv2.WARP_INVERSE_MAP
            size = self.width, self.height
            return cv2.warpPerspective(image, back, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        places = lens_places(lens, self.height, self.width)
        if not np.array_equal(back, np.eye(3)):
            places = cv2.perspectiveTransform(places, back)
        return cv2.remap(image, places[..., 0], places[..., 1], interpolation, borderMode=cv2.BORDER_REFLECT_101)


def _shift(x: float, y: float) -> Array:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def lens_places(lens: tuple[float, int, int, int, int], height: int, width: int) -> Array:
    """Source coordinates of the pixels of a window of a radially distorted canvas, float32 (height, width, 2)."""
    k, canvas_height, canvas_width, top, left = lens
    focal = canvas_width  # as in albumentations 0.5
    x = ((np.arange(left, left + width) - canvas_width * 0.5) / focal).astype(np.float32)
    y = ((np.arange(top, top + height) - canvas_height * 0.5) / focal).astype(np.float32)
    r2 = x[None, :] ** 2 + y[:, None] ** 2
    bend = focal * (1 + k * r2 * (1 + r2))
    places = np.empty((height, width, 2), np.float32)
    places[..., 0] = bend * x[None, :] + canvas_width * 0.5
    places[..., 1] = bend * y[:, None] + canvas_height * 0.5
    return places

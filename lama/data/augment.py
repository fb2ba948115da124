"""Augmentation of training images, on albumentations: the official variants, and a plain crop.

``augment(image uint8 (H, W, 3), rng, mask) -> (image uint8 (h, w, 3), mask)``. A mask, bool (H, W), is transformed with
its image; it may be None. ``size`` is the side of the crop in pixels, or [height, width].
"""

import math
import os
import random
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no network request for a newer version on import

import albumentations as A

from lama.interfaces import Augmented, ImageArray, MaskArray

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
        places = _lens(lens, self.height, self.width)
        if not np.array_equal(back, np.eye(3)):
            places = cv2.perspectiveTransform(places, back)
        return cv2.remap(image, places[..., 0], places[..., 1], interpolation, borderMode=cv2.BORDER_REFLECT_101)


def _shift(x: float, y: float) -> Array:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def _lens(lens: tuple[float, int, int, int, int], height: int, width: int) -> Array:
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


class _Chain:
    """A chain of albumentations that is seeded for every sample."""

    def __init__(self, size: int | Sequence[int], transforms: Sequence[A.BasicTransform]) -> None:
        self.size = checked_size(size)
        # strict: an unknown option is an error, not a warning
        self.chain = A.Compose(list(transforms), strict=True)

    def __call__(self, image: ImageArray, rng: np.random.Generator, mask: MaskArray | None = None) -> Augmented:
        # DataLoader workers would share albumentations' generators, and ``set_random_seed`` gives all the same seed.
        self.chain.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        given: dict[str, Any] = {"image": _two_pixels(image)}
        if mask is not None:
            given["mask"] = _two_pixels(mask.astype(np.uint8))
        try:
            made = self.chain(**given)
        except cv2.error as error:  # OpenCV cannot warp sides of 32767 pixels or more
            raise ValueError(f"an image of {image.shape[1]} x {image.shape[0]} pixels cannot be distorted") from error
        return made["image"], None if mask is None else made["mask"].astype(np.bool_)


def _two_pixels(array: Any) -> Any:
    """Repeat the pixels of an image of one row or column: interpolation needs two."""
    for axis in (0, 1):
        if array.shape[axis] == 1:
            array = np.repeat(array, 2, axis=axis)
    return np.ascontiguousarray(array)


class Distortions(_Chain):
    """The official ``distortions`` chains: perspective, affine, optical distortion, crop, flip, colour.

    The crop is taken from the image without resizing it first; smaller images are extended by reflection.
    Horizontal and vertical scale are drawn independently. Raises ValueError for options out of range.
    """

    def __init__(
        self,
        size: int | Sequence[int] = 256,
        perspective: float = 0.06,  # largest standard deviation of the corners, share of the side
        scale: Sequence[float] = (0.7, 1.3),  # smallest and largest factor
        rotate: float = 40.0,  # degrees, in both directions
        shear: float = 0.1,  # degrees, in both directions
        affine_probability: float = 0.5,
        optical: float = 0.05,  # largest coefficient of the radial distortion; 0 = none
    ) -> None:
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ValueError(f"augment.scale: expected [smallest, largest] factor above 0, got {list(scale)}")
        if min(perspective, rotate, shear, optical) < 0 or not 0 <= affine_probability <= 1:
            raise ValueError(
                "augment: expected perspective, rotate, shear, optical >= 0 and 0 <= affine_probability <= 1, got "
                f"{perspective}, {rotate}, {shear}, {optical}, {affine_probability}"
            )
        height, width = checked_size(size)
        warp = WarpCrop(
            height, width, perspective, 0.5, (scale[0], scale[1]), rotate, shear, affine_probability,
            optical, 0.5 if optical > 0 else 0.0,
        )  # fmt: skip
        super().__init__(size, [warp, *flip_and_colour()])


class ScaleCrop(_Chain):
    """The official ``default`` chain: scale by 0.8 to 1.2, crop, flip, colour."""

    def __init__(self, size: int | Sequence[int] = 256) -> None:
        scale = A.RandomScale(scale_limit=(-0.2, 0.2), interpolation=cv2.INTER_LINEAR, p=0.5)
        super().__init__(size, [scale, *_pad_and_crop(size), *flip_and_colour()])


class CropFlip(_Chain):
    """A random crop and flip, for short trainings that cannot profit from ``Distortions``."""

    def __init__(self, size: int | Sequence[int] = 256) -> None:
        super().__init__(size, [*_pad_and_crop(size), A.HorizontalFlip(p=0.5)])


class NoAugmentation:
    """The official ``no_augs``: images of the right size, unchanged. Raises ValueError for an image of another size."""

    def __init__(self, size: int | Sequence[int] = 256) -> None:
        self.size = checked_size(size)

    def __call__(self, image: ImageArray, rng: np.random.Generator, mask: MaskArray | None = None) -> Augmented:
        if image.shape[:2] != self.size:
            (h, w), (ih, iw) = self.size, image.shape[:2]
            got = f"expected an image of {w} x {h} pixels, got {iw} x {ih}"
            raise ValueError(f"{got}: resize the images first, or use augment=crop_flip")
        return image, mask


def _pad_and_crop(size: int | Sequence[int]) -> list[A.BasicTransform]:
    height, width = checked_size(size)
    return [A.PadIfNeeded(height, width, border_mode=cv2.BORDER_REFLECT_101), A.RandomCrop(height, width)]


def flip_and_colour() -> list[A.BasicTransform]:
    """The tail of every official chain."""
    return [
        A.HorizontalFlip(p=0.5),
        A.CLAHE(clip_limit=(1.0, 4.0), tile_grid_size=(8, 8), p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
        A.HueSaturationValue(hue_shift_limit=5, sat_shift_limit=30, val_shift_limit=5, p=0.5),
    ]


def checked_size(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of a crop. Raises ValueError unless both are at least 16 pixels."""
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 16 for side in sides):
        raise ValueError(f"augment.size: expected at least 16 pixels, or [height, width], got {size}")
    return sides

"""Augmentation of training images, on albumentations: the official variants, and a plain crop.

``augment(image uint8 (H, W, 3), rng, mask) -> (image uint8 (h, w, 3), mask)``. A mask, bool (H, W), is transformed with
its image; it may be None. ``size`` is the side of the crop in pixels, or [height, width].
"""

import os
import random
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no network request for a newer version on import

import albumentations as A

from lama.data.warp import WarpCrop
from lama.interfaces import Augmented, ImageArray, MaskArray


class _Chain:
    """A chain of albumentations that is seeded for every sample."""

    def __init__(self, size: int | Sequence[int], transforms: Sequence[A.BasicTransform]) -> None:
        self.size = checked_size(size)
        # strict: an unknown option is an error, not a warning
        self.chain = A.Compose(list(transforms), strict=True)

    def __call__(self, image: ImageArray, rng: np.random.Generator, mask: MaskArray | None = None) -> Augmented:
        given: dict[str, Any] = {"image": two_pixels(image)}
        if mask is not None:
            given["mask"] = two_pixels(mask.astype(np.uint8))
        try:
            made = seeded(self.chain, rng)(**given)
        except cv2.error as error:  # OpenCV cannot warp sides of 32767 pixels or more
            raise ValueError(f"an image of {image.shape[1]} x {image.shape[0]} pixels cannot be distorted") from error
        return made["image"], None if mask is None else made["mask"].astype(np.bool_)


def seeded(chain: A.Compose, rng: np.random.Generator) -> A.Compose:
    """``chain``, which draws from ``rng``.

    DataLoader workers would share albumentations' generators, and ``set_random_seed`` gives all the same seed.
    """
    chain.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    return chain


def two_pixels(array: Any) -> Any:
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

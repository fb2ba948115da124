"""Augmentation of training pictures, on albumentations."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for a newer version on import

import albumentations as A
import cv2
import numpy as np

from lama.interfaces import ImageArray


class Distortions:
    """The official ``distortions`` chain: perspective, affine, optical distortion, crop, flip, colour.

    ``(image uint8 (H, W, 3), rng) -> uint8 (size, size, 3)``. The crop is taken from the picture as it is, without
    resizing; smaller pictures are extended by reflection. Horizontal and vertical scale are drawn independently.
    """

    def __init__(self, size: int = 256) -> None:
        self.size = _checked(size)
        self.chain = A.Compose(
            [
                A.Perspective(scale=(0.0, 0.06), border_mode=cv2.BORDER_REPLICATE, p=0.5),
                A.Affine(
                    scale={"x": (0.7, 1.3), "y": (0.7, 1.3)},
                    keep_ratio=False,
                    rotate=(-40, 40),
                    shear=(-0.1, 0.1),
                    border_mode=cv2.BORDER_REFLECT_101,
                    p=0.5,
                ),
                A.PadIfNeeded(size, size, border_mode=cv2.BORDER_REFLECT_101),
                A.OpticalDistortion(distort_limit=(-0.05, 0.05), border_mode=cv2.BORDER_REFLECT_101, p=0.5),
                A.RandomCrop(size, size),
                *_flip_and_colour(),
            ],
            strict=True,  # an option that albumentations does not know is an error, not a warning
        )

    def __call__(self, image: ImageArray, rng: np.random.Generator) -> ImageArray:
        return _apply(self.chain, image, rng)


class ScaleCrop:
    """The official ``default`` chain: scale by 0.8 to 1.2, crop, flip, colour.

    ``(image uint8 (H, W, 3), rng) -> uint8 (size, size, 3)``; smaller pictures are extended by reflection.
    """

    def __init__(self, size: int = 256) -> None:
        self.size = _checked(size)
        self.chain = A.Compose(
            [
                A.RandomScale(scale_limit=(-0.2, 0.2), interpolation=cv2.INTER_LINEAR, p=0.5),
                A.PadIfNeeded(size, size, border_mode=cv2.BORDER_REFLECT_101),
                A.RandomCrop(size, size),
                *_flip_and_colour(),
            ],
            strict=True,
        )

    def __call__(self, image: ImageArray, rng: np.random.Generator) -> ImageArray:
        return _apply(self.chain, image, rng)


class NoAugmentation:
    """The official ``no_augs``: pictures of the right size as they are, ``uint8 (size, size, 3)`` in and out.

    Raises ValueError for a picture of another size.
    """

    def __init__(self, size: int = 256) -> None:
        self.size = _checked(size)

    def __call__(self, image: ImageArray, rng: np.random.Generator) -> ImageArray:
        if image.shape[:2] != (self.size, self.size):
            raise ValueError(
                f"expected a picture of {self.size} x {self.size} pixels, got {image.shape[1]} x {image.shape[0]}: "
                "resize the pictures first, or crop them with augment=crop_flip"
            )
        return image


class CropFlip:
    """A random crop and flip: ``(image uint8 (H, W, 3), rng) -> uint8 (size, size, 3)``.

    For trainings of minutes, in which a network has no time to learn what ``Distortions`` would teach it.
    """

    def __init__(self, size: int = 256) -> None:
        self.size = _checked(size)
        self.chain = A.Compose(
            [
                A.PadIfNeeded(size, size, border_mode=cv2.BORDER_REFLECT_101),
                A.RandomCrop(size, size),
                A.HorizontalFlip(p=0.5),
            ],
            strict=True,
        )

    def __call__(self, image: ImageArray, rng: np.random.Generator) -> ImageArray:
        return _apply(self.chain, image, rng)


def _flip_and_colour() -> list[A.BasicTransform]:
    """The tail of every official chain."""
    return [
        A.HorizontalFlip(p=0.5),
        A.CLAHE(clip_limit=(1.0, 4.0), tile_grid_size=(8, 8), p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
        A.HueSaturationValue(hue_shift_limit=5, sat_shift_limit=30, val_shift_limit=5, p=0.5),
    ]


def _checked(size: int) -> int:
    if size < 16:
        raise ValueError(f"augment.size: expected at least 16 pixels, got {size}")
    return size


def _apply(chain: A.Compose, image: ImageArray, rng: np.random.Generator) -> ImageArray:
    # albumentations keeps a generator of its own, which DataLoader workers would share: seed it per sample.
    chain.set_random_seed(int(rng.integers(2**31)))
    augmented: ImageArray = chain(image=np.ascontiguousarray(image))["image"]
    return augmented

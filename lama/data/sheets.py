"""Contact sheets: what masks and augmentations look like."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from lama.interfaces import Augmentation, ImageArray, MaskSampler

LABEL = 24  # pixels of the strip above a row


def mask_sheet(
    samplers: Mapping[str, MaskSampler], images: Mapping[str, ImageArray], columns: int = 8, seed: int = 0
) -> ImageArray:
    """A row per sampler: its masks over the picture of that name, the hole in pink."""
    pink = np.array([236, 72, 153], np.uint8)
    rows = {}
    for name, sampler in samplers.items():
        rng, image = np.random.default_rng(seed), images[name]
        masks = [sampler(rng, *image.shape[:2]) for _ in range(columns)]
        rows[name] = [np.where(mask[..., None], pink, image) for mask in masks]
    return _sheet(rows)


def augmentation_sheet(
    augmentations: Mapping[str, Augmentation], image: ImageArray, columns: int = 8, seed: int = 0
) -> ImageArray:
    """A row per augmentation: crops of ``image``."""
    rows = {}
    for name, augment in augmentations.items():
        rows[name] = [augment(image, np.random.default_rng([seed, i]))[0] for i in range(columns)]
    return _sheet(rows)


def _sheet(rows: Mapping[str, Sequence[ImageArray]], side: int = 128) -> ImageArray:
    """Labelled rows of tiles."""
    parts: list[Any] = []
    for name, tiles in rows.items():
        strip = np.full((LABEL, len(tiles) * (side + 4), 3), 255, np.uint8)
        parts.append(cv2.putText(strip, name, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA))
        small = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile in tiles]
        parts.append(np.concatenate([np.pad(t, ((0, 4), (0, 4), (0, 0)), constant_values=255) for t in small], axis=1))
    return np.concatenate(parts)

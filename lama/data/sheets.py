"""Contact sheets of masks, augmentations and ways to store a mask."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lama.interfaces import Augmentation, ImageArray, MaskSampler
from lama.pages import with_hole
from lama.pictures.masks import MaskReader
from lama.pictures.reading import ImageFile

LABEL = 24  # pixels of the strip above a row


def mask_sheet(
    samplers: Mapping[str, MaskSampler], images: Mapping[str, ImageArray], columns: int = 8, seed: int = 0
) -> ImageArray:
    """A row per sampler: its masks on the image of the same name, with the hole in pink."""
    rows = {}
    for name, sampler in samplers.items():
        rng, image = np.random.default_rng(seed), images[name]
        masks = [sampler(rng, *image.shape[:2]) for _ in range(columns)]
        rows[name] = [with_hole(image, mask) for mask in masks]
    return _sheet(rows)


def augmentation_sheet(
    augmentations: Mapping[str, Augmentation], image: ImageArray, columns: int = 8, seed: int = 0
) -> ImageArray:
    rngs = {name: [np.random.default_rng([seed, i]) for i in range(columns)] for name in augmentations}
    return _sheet({name: [augment(image, rng)[0] for rng in rngs[name]] for name, augment in augmentations.items()})


def reading_sheet(image: ImageArray) -> ImageArray:
    """A column for each way to store a mask: the file (transparency as a chequerboard), and the hole in ``image``."""
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        for label, suffix, mask, options in _stored_masks(image):
            path = Path(folder) / f"mask{suffix}"
            mask.save(path, quality=75)
            hole, _ = MaskReader(**options).read(path, ImageFile(image), "")
            overlay = with_hole(image, hole)
            options_text = " ".join(f"{name}={str(value).lower()}" for name, value in options.items())
            columns.append(_column(label, options_text, [_on_chequers(Image.open(path)), overlay]))
    return np.concatenate(columns, axis=1)


def _stored_masks(image: ImageArray) -> list[tuple[str, str, Image.Image, dict[str, Any]]]:
    """(label, suffix, mask, options of ``MaskReader``): the same strokes, stored in different ways."""
    height, width = image.shape[:2]
    strokes = np.zeros((height, width), np.uint8)
    points = np.array([[0.2, 0.75], [0.45, 0.3], [0.6, 0.6], [0.8, 0.35]]) * (width, height)
    cv2.polylines(strokes, [points.astype(np.int32)], False, 255, max(1, width // 9), cv2.LINE_AA)
    white = Image.fromarray(strokes)
    layer = Image.new("RGBA", (width, height), (255, 170, 0, 255))
    layer.putalpha(white)
    cut_out = Image.fromarray(image)
    cut_out.putalpha(Image.fromarray(255 - strokes))
    return [
        ("white on black", ".png", white, {}),
        ("black on white", ".png", Image.fromarray(255 - strokes), {"invert": True}),
        ("strokes on a layer", ".png", layer, {}),
        ("a cut-out image", ".png", cut_out, {"channel": "alpha", "invert": True}),
        ("JPEG", ".jpg", white, {}),
        ("JPEG", ".jpg", white, {"threshold": 127}),
        ("grown", ".png", white, {"dilate": 12}),
    ]


def _on_chequers(image: Image.Image) -> ImageArray:
    rgba = np.asarray(image.convert("RGBA")).astype(np.float32)
    y, x = np.indices(rgba.shape[:2]) // 16
    squares = np.where((y + x) % 2, 255, 190)[..., None]
    alpha = rgba[..., 3:] / 255
    return (rgba[..., :3] * alpha + squares * (1 - alpha)).round().astype(np.uint8)


def _column(label: str, options: str, tiles: Sequence[ImageArray], side: int = 150) -> ImageArray:
    strip = np.full((2 * LABEL, side + 4, 3), 255, np.uint8)
    for line, text in enumerate((label, options)):
        cv2.putText(strip, text, (2, 17 + 20 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (30, 30, 30), 1, cv2.LINE_AA)
    small = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile in tiles]
    return np.concatenate([strip, *(np.pad(t, ((0, 4), (0, 4), (0, 0)), constant_values=255) for t in small)])


def _sheet(rows: Mapping[str, Sequence[ImageArray]], side: int = 128) -> ImageArray:
    parts: list[Any] = []
    for name, tiles in rows.items():
        strip = np.full((LABEL, len(tiles) * (side + 4), 3), 255, np.uint8)
        parts.append(cv2.putText(strip, name, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA))
        small = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile in tiles]
        parts.append(np.concatenate([np.pad(t, ((0, 4), (0, 4), (0, 0)), constant_values=255) for t in small], axis=1))
    return np.concatenate(parts)

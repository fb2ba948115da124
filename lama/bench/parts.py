"""Parts of training and evaluation, each compared with a plain version of the same.

Masks per second, against the same sampling in plain OpenCV; training images per second (decoding and the
``distortions`` chain), against albumentations' transforms; the Fréchet distance in 2048 dimensions, against scipy's
matrix square root.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lama.bench.timing import alternate, table
from lama.data import Distortions, ImageFolder
from lama.data.augment import flip_and_colour
from lama.data.datamodule import usable
from lama.data.sources import DecodedCache, Subset
from lama.evaluation.fid import frechet_distance
from lama.interfaces import ImageArray, ImageSource, MaskSampler
from lama.masks import Boxes, Mixture, Strokes


def bench_masks(samplers: Mapping[str, tuple[MaskSampler, int]], count: int = 200, rounds: int = 7) -> list[str]:
    """Lines of a table; ``samplers`` maps a name to (sampler, size of the masks in pixels)."""
    lines = []
    for name, (sampler, size) in samplers.items():
        contenders = {
            f"{name} plain": partial(_draw, partial(_plain, sampler), count, size),
            f"{name} lama.masks": partial(_draw, sampler, count, size),
        }
        lines += table(alternate(contenders, rounds, name), count, "masks")
    return lines


def _draw(sampler: Any, count: int, size: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(count):
        sampler(rng, size, size)


def _plain(sampler: Any, rng: np.random.Generator, height: int, width: int) -> Any:
    """The plain version: one random number at a time, a float mask (1, height, width)."""
    if isinstance(sampler, Mixture):
        chosen = rng.choice(len(sampler.samplers), p=np.diff([0, *sampler.edges, 1]))
        return _plain(sampler.samplers[chosen], rng, height, width)
    mask = np.zeros((height, width), np.float32)
    if isinstance(sampler, Boxes):
        _plain_boxes(sampler, rng, mask)
    else:
        _plain_strokes(sampler, rng, mask)
    return mask[None]


def _plain_boxes(boxes: Boxes, rng: np.random.Generator, mask: np.ndarray[Any, Any]) -> None:
    height, width = mask.shape
    limit = min(boxes.max_size + 1, height - boxes.margin * 2, width - boxes.margin * 2)
    for _ in range(rng.integers(boxes.min_times, boxes.max_times + 1)):
        w, h = rng.integers(boxes.min_size, limit), rng.integers(boxes.min_size, limit)
        x = rng.integers(boxes.margin, width - boxes.margin - w + 1)
        y = rng.integers(boxes.margin, height - boxes.margin - h + 1)
        mask[y : y + h, x : x + w] = 1


def _plain_strokes(strokes: Strokes, rng: np.random.Generator, mask: np.ndarray[Any, Any]) -> None:
    height, width = mask.shape
    for i in range(rng.integers(strokes.min_times, strokes.max_times + strokes.one_more + 1)):
        x, y = rng.integers(width), rng.integers(height)
        for _ in range(1 + rng.integers(5)):
            angle = 0.01 + rng.integers(strokes.max_angle)
            if i % 2 == 0:
                angle = 2 * math.pi - angle
            length, brush = 10 + rng.integers(strokes.max_len), 5 + rng.integers(strokes.max_width)
            end_x = np.clip((x + length * np.sin(angle)).astype(np.int32), 0, width)
            end_y = np.clip((y + length * np.cos(angle)).astype(np.int32), 0, height)
            cv2.line(mask, (int(x), int(y)), (int(end_x), int(end_y)), 1.0, int(brush))
            x, y = end_x, end_y


def bench_data(folder: str | Path, size: int = 256, count: int = 60, rounds: int = 7) -> list[str]:
    """Lines of a table for the readable ones of the first ``count`` images of ``folder``, in one process."""
    cv2.setNumThreads(1)  # as in a DataLoader's worker
    everything = ImageFolder(folder)
    source = usable(Subset(everything, list(range(min(count, len(everything))))), "bench data")
    count = len(source)
    ours = Distortions(size)
    rng = np.random.default_rng(0)
    plain = plain_distortions(size)
    contenders = {
        "decode + albumentations": partial(_run, source, lambda image: plain(image=image)["image"], count),
        "decode + Distortions": partial(_run, source, lambda image: ours(image, rng)[0], count),
        "cached + Distortions": partial(_run, DecodedCache(source, 1.0), lambda image: ours(image, rng)[0], count),
    }
    return table(alternate(contenders, rounds, "data"), count, "images")


def _run(source: ImageSource, augment: Callable[[ImageArray], ImageArray], count: int) -> None:
    for i in range(count):
        augment(source[i][1])


def plain_distortions(size: int) -> A.Compose:
    """The ``distortions`` chain built of albumentations' transforms, each of which resamples the whole image."""
    reflect = cv2.BORDER_REFLECT_101
    return A.Compose(
        [
            A.Perspective(scale=(0.0, 0.06), border_mode=cv2.BORDER_REPLICATE, p=0.5),
            A.Affine(
                scale={"x": (0.7, 1.3), "y": (0.7, 1.3)}, keep_ratio=False, rotate=(-40, 40), shear=(-0.1, 0.1),
                border_mode=reflect, p=0.5,
            ),
            A.PadIfNeeded(size, size, border_mode=reflect),
            A.OpticalDistortion(distort_limit=(-0.05, 0.05), border_mode=reflect, p=0.5),
            A.RandomCrop(size, size),
            *flip_and_colour(),
        ],
        strict=True,
    )  # fmt: skip


def bench_fid(n: int = 5000, dimensions: int = 2048, rounds: int = 2) -> list[str]:
    """Lines of a table, and the relative difference of the two distances."""
    rng = np.random.default_rng(0)
    mix = np.eye(dimensions) + 0.1 * rng.standard_normal((dimensions, dimensions))
    x, y = (rng.standard_normal((n, dimensions)) @ mix, 1.1 * rng.standard_normal((n, dimensions)) + 0.1)
    contenders = {
        "scipy.linalg.sqrtm": partial(_by_scipy, x, y),
        "lama.evaluation.fid": partial(frechet_distance, torch.from_numpy(x), torch.from_numpy(y)),
    }
    lines = table(alternate(contenders, rounds, "fid"), 1, "FIDs")
    plain, ours = (run() for run in contenders.values())
    return [
        *lines,
        f"{n} x {dimensions} features: {plain:.8g} and {ours:.8g}, relative difference {abs(ours / plain - 1):.1e}",
    ]


def _by_scipy(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    import scipy.linalg

    s_x, s_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s_x @ s_y)
    means = x.mean(axis=0) - y.mean(axis=0)
    return float(means @ means + np.trace(s_x) + np.trace(s_y) - 2 * np.trace(root.real))

"""Masks per second, compared with a plain OpenCV version of the same sampling."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np

from lama.bench.timing import alternate, table
from lama.interfaces import MaskSampler
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

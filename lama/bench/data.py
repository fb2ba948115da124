"""Training images per second: decoding and the ``distortions`` chain, compared with albumentations' transforms.

For ``augment=distortions_gpu`` also the two parts: what a worker does, and what the device does (here, a CPU).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np

from lama.bench.timing import alternate, table
from lama.data import Distortions, DistortionsOnDevice, ImageFolder
from lama.data.augment import flip_and_colour
from lama.data.cache import DecodedCache
from lama.data.datamodule import usable
from lama.data.distortions_gpu import Window
from lama.data.sources import Subset
from lama.interfaces import ImageArray, ImageSource

BATCH = 10


def bench_data(folder: str | Path, size: int = 256, count: int = 60, rounds: int = 7) -> list[str]:
    """Lines of a table for the readable ones of the first ``count`` images of ``folder``, in one process."""
    cv2.setNumThreads(1)  # as in a DataLoader's worker
    everything = ImageFolder(folder)
    source = usable(Subset(everything, list(range(min(count, len(everything))))), "bench data")
    count = len(source)
    ours, there, cached = Distortions(size), DistortionsOnDevice(size), DecodedCache(source, 1.0)
    rng = np.random.default_rng(0)
    plain = plain_distortions(size)
    contenders = {
        "decode + albumentations": partial(_run, source, lambda image: plain(image=image)["image"], count),
        "decode + Distortions": partial(_run, source, lambda image: ours(image, rng)[0], count),
        "cached + Distortions": partial(_run, cached, lambda image: ours(image, rng)[0], count),
        "cached + window": partial(_run, cached, lambda image: there.window(image, rng), count),
        "the device's part": partial(_finish, there, [there.window(source[i][1], rng)[0] for i in range(count)]),
    }
    return table(alternate(contenders, rounds, "data"), count, "images")


def _run(source: ImageSource, augment: Callable[[ImageArray], Any], count: int) -> None:
    for i in range(count):
        augment(source[i][1])


def _finish(augment: DistortionsOnDevice, windows: list[Window]) -> None:
    none = np.zeros(augment.size, np.bool_)
    for begin in range(0, len(windows), BATCH):
        augment.finish(augment.collate([(window, none) for window in windows[begin : begin + BATCH]]))


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

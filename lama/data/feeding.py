"""Whether the processors of a machine can feed a GPU: the speed of the data pipeline, and the speed of a card."""

import itertools
import math
import time

import cv2

from lama.data.datamodule import InpaintingDataModule
from lama.data.distortions_gpu import DistortionsOnDevice

SECONDS = 2.0  # of measuring
MOST_CORES = 128  # of a usual machine with such a card
H200 = 989e12  # floating-point operations a second in bfloat16, dense, by NVIDIA's data sheet


def images_per_core(data: InpaintingDataModule) -> float:
    """Training samples (decoded, distorted, masked) that one core makes in a second; a small data set gets cached."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as many as a worker has when all are at work
    try:
        samples = data.samples
        keys = itertools.cycle(data.sampler)
        samples[next(keys)]  # the first opens files
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            samples[next(keys)]
            count += 1
        return count / (time.perf_counter() - began)
    finally:
        cv2.setNumThreads(threads)


def feeding(data: InpaintingDataModule, flops_per_image: float) -> str:
    """A line: the speed of a core, and how many cores feed an H200 that computes at its peak."""
    speed, most = images_per_core(data), H200 / flops_per_image
    on_device = isinstance(data.train_set.augment, DistortionsOnDevice)
    made = " (windows and masks; the GPU crops them and changes colours)" if on_device else ""
    cores = math.ceil(most / speed)
    if cores > MOST_CORES:
        card = f"an H200 in bf16 trains faster than {MOST_CORES} cores make them: the data limit it, not the GPU"
    else:
        card = f"an H200 in bf16 trains at most {_plain(most)} a second, as many as {cores} cores make"
    return f"data: one core makes {_plain(speed)} images a second{made}; {card}"


def _plain(rate: float) -> str:
    """A rate without an exponent."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"

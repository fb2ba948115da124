"""Whether the processors of a machine can feed a GPU: the speed of the data pipeline, and the speed of a card."""

import itertools
import math
import time

import cv2

from lama.data.datamodule import InpaintingDataModule

SECONDS = 2.0  # of measuring
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
    return (f"data: one core makes {speed:.3g} images a second; an H200 in bf16 trains at most {most:.3g} a second, as "
            f"many as {math.ceil(most / speed)} cores make")  # fmt: skip

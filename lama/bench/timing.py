"""Time alternatives in turn: a change in the speed of the machine then affects all of them. Random images for them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm


def alternate(contenders: Mapping[str, Callable[[], Any]], rounds: int, what: str) -> dict[str, list[float]]:
    """Seconds of every contender in each of ``rounds`` rounds, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in tqdm(range(rounds + 1), desc=what, leave=False):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if round_:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def table(seconds: Mapping[str, list[float]], amount: int, unit: str) -> list[str]:
    """One line per contender: ``amount`` per second, and the speed relative to the first (median over rounds)."""
    first = next(iter(seconds))
    lines = []
    for name, values in seconds.items():
        ratios = [base / value for base, value in zip(seconds[first], values, strict=True)]
        speed = f"{amount / statistics.median(values):8.1f} {unit}/s"
        lines.append(
            f"{name:28} {speed}, {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    return lines


def noise(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Noise of four scales (B, 3, size, size) in [0, 1], and a mask (B, 1, size, size) with a square hole."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(batch, 3, size, size)
    for side in (4, 16, 64, size):
        coarse = torch.rand(batch, 3, side, side, generator=generator)
        image += F.interpolate(coarse, (size, size), mode="bilinear") / 4
    mask = torch.zeros(batch, 1, size, size)
    mask[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    return image, mask

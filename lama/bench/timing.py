"""Time alternatives in turn: a change in the speed of the machine then affects all of them. Random images for them."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
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
        speed = f"{amount / statistics.median(values):8.1f} {unit}/s"
        lines.append(f"{name:28} {speed}, {times_as_fast(seconds[first], values)}")
    return lines


def times_as_fast(base: Sequence[float], ours: Sequence[float], than: str = "") -> str:
    """The ratio of the seconds of paired runs, as text: its median over the pairs, its least and its largest value."""
    ratios = [before / now for before, now in zip(base, ours, strict=True)]
    return f"{statistics.median(ratios):.2f} times as fast{than} ({min(ratios):.2f} to {max(ratios):.2f})"


def run_worker(command: Sequence[str], what: str) -> dict[str, float]:
    """The JSON that a process of a benchmark prints last. Raises ValueError, with the reason, if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ValueError(f"bench {what}: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


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

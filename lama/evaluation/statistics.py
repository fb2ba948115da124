"""How sure a number is: bootstrap intervals, and the comparison of two models on the same images."""

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

RESAMPLES = 1000
Scores = NDArray[np.float64]


def mean_interval(scores: Scores, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of the mean; None for fewer than two scores."""
    n = len(scores)
    if n < 2:
        return None
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, 100):  # a block at a time: 36 500 scores times 1000 would be 300 MB
        index = rng.integers(0, n, size=(min(100, resamples - start), n))
        means[start : start + 100] = scores[index].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5]).tolist()
    return low, high


def set_interval(
    statistic: Callable[[NDArray[np.intp]], float], n: int, seed: int = 0, resamples: int = 50
) -> tuple[float, float] | None:
    """The 95 % interval of a statistic of the whole set (an FID, say), from ``resamples`` resampled sets.

    It is the basic bootstrap interval, 2 x - q(97.5 %) to 2 x - q(2.5 %): a set with repeated images looks less
    diverse, which moves an FID upwards, and that interval takes the shift out. None for fewer than two images.
    """
    if n < 2:
        return None
    rng = np.random.default_rng(seed)
    value = statistic(np.arange(n))
    drawn = tqdm(range(resamples), desc="interval", leave=False, delay=5)
    values = [statistic(rng.integers(0, n, size=n)) for _ in drawn]
    low, high = np.percentile(values, [2.5, 97.5]).tolist()
    return 2 * value - high, 2 * value - low


def paired_comparison(a: Scores, b: Scores, higher_is_better: bool, seed: int = 0) -> dict[str, Any]:
    """Scores of two models on the same images: mean difference a - b, its interval, and a sign test.

    The sign test is exact and two-sided (binomial, ties left out): how likely so uneven a count of wins is where
    neither model is better. Raises ValueError where the two have not the same length.
    """
    if len(a) != len(b):
        raise ValueError(f"paired comparison: expected scores of the same images, got {len(a)} and {len(b)}")
    both = ~(np.isnan(a) | np.isnan(b))
    difference = a[both] - b[both]
    wins = int((difference > 0).sum() if higher_is_better else (difference < 0).sum())
    losses = int((difference != 0).sum()) - wins
    return {
        "difference": float(difference.mean()) if len(difference) else None,
        "ci95": mean_interval(difference, seed),
        "wins": wins,
        "losses": losses,
        "ties": len(difference) - wins - losses,
        "sign_test_p": sign_test(wins, losses),
        "n": len(difference),
    }


def welch_interval(a: Scores, b: Scores) -> tuple[float, float] | None:
    """Welch's 95 % t interval of mean(a) - mean(b), for the means of a few trainings each.

    None for fewer than two, and where none differs from another of its kind: no deviation to judge by.
    """
    if min(len(a), len(b)) < 2 or np.ptp(a) == np.ptp(b) == 0:
        return None
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    return float(low), float(high)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact binomial p with probability 1/2."""
    n, least = wins + losses, min(wins, losses)
    if n == 0:
        return 1.0
    tail = sum(comb(n, k) for k in range(least + 1))
    return min(1.0, 2 * tail / 2**n)

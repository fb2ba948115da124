"""How certain a number is: bootstrap intervals, and the comparison of two models on the same images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

RESAMPLES = 1000
Scores = NDArray[np.float64]


def mean_interval(scores: Scores, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of the mean (BCa is quadratic in N); None for fewer than two scores."""
    if len(scores) < 2:
        return None
    # In batches: 1000 resamples of 36 500 scores at once would take 300 MB.
    interval = stats.bootstrap(
        (scores,), np.mean, n_resamples=resamples, batch=100, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return float(interval.low), float(interval.high)


def set_interval(
    statistic: Callable[[NDArray[np.intp]], Any], n: int, seed: int = 0, resamples: int = 50, at_once: bool = False
) -> tuple[float, float] | None:
    """The 95 % basic bootstrap interval of a statistic of a whole set, such as FID; None for fewer than two images.

    ``statistic`` maps the indices of the drawn images, (n,), to a number; with ``at_once`` all resamples, (R, n), to
    (R,) numbers. The basic interval is 2 x - q(97.5 %) to
    2 x - q(2.5 %). A resampled set has repeated images and looks less diverse, which raises an FID; the basic interval
    removes this shift, the percentile interval would not.
    """
    if n < 2:
        return None
    if at_once:
        several = lambda index, axis: statistic(index) if index.ndim > 1 else statistic(index[None])[0]  # noqa: E731
        interval = stats.bootstrap(
            (np.arange(n),), several, n_resamples=resamples, vectorized=True, method="basic",
            rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
        return float(interval.low), float(interval.high)
    with tqdm(total=resamples + 1, desc="interval", leave=False, delay=5) as progress:

        def counted(index: NDArray[np.intp]) -> float:
            progress.update()
            return statistic(index)

        interval = stats.bootstrap(
            (np.arange(n),), counted, n_resamples=resamples, vectorized=False, method="basic",
            rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def summary(scores: Scores, interval: bool) -> dict[str, Any]:
    """{"mean", "std", "n", "ci95"?} of scores (N,)."""
    result: dict[str, Any] = {"mean": float(scores.mean()), "std": float(scores.std()), "n": len(scores)}
    return result | ({"ci95": mean_interval(scores)} if interval else {})


def paired_comparison(a: Scores, b: Scores, higher_is_better: bool, seed: int = 0) -> dict[str, Any]:
    """Scores of two models on the same images: mean difference a - b, its interval, and the p of a paired t-test.

    An image counts only where both scores are numbers. Raises ValueError for different lengths.
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
        "p": _paired_p(difference),
        "n": len(difference),
    }


def _paired_p(difference: Scores) -> float:
    """The p of a two-sided t-test that the mean is 0; without the test where the differences do not vary."""
    if len(difference) < 2:
        return 1.0
    if np.ptp(difference) == 0:
        return 0.0 if difference.any() else 1.0
    return float(stats.ttest_1samp(difference, 0).pvalue)


def welch(a: Scores, b: Scores) -> tuple[tuple[float, float], float] | None:
    """Welch's 95 % t interval of mean(a) - mean(b), and its p; None for fewer than two means of a model.

    Also None if no means vary: equal numbers of several trainings say nothing about others.
    """
    if min(len(a), len(b)) < 2 or np.ptp(a) == np.ptp(b) == 0:
        return None
    test = stats.ttest_ind(a, b, equal_var=False)
    low, high = test.confidence_interval()
    return (float(low), float(high)), float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: corrected p-values in the same order, each at most 1.

    Rejecting where the corrected p is below 0.05 keeps the chance of any false rejection below 5 %.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected.tolist()

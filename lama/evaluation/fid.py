"""Fréchet Inception distance (Heusel et al., NeurIPS 2017), without a matrix square root."""

from collections.abc import Iterator
from math import inf
from typing import Any

import torch
from torch import Tensor

from lama.evaluation.statistics import set_interval
from lama.interfaces import SetFeatures, SetMetric

ROWS = 4096  # rows of features that are converted to double precision at a time


class FID(SetMetric):
    """Fréchet Inception distance between the completed and the true images."""

    label, higher_is_better, bounds = "FID", False, (0.0, inf)
    in_report = True

    def measure(self, features: SetFeatures, interval: bool) -> dict[str, Any]:
        x, y, n = torch.from_numpy(features.fake), torch.from_numpy(features.real), len(features.fake)
        result: dict[str, Any] = {"mean": frechet_distance(x, y, features.covariance), "n": n}
        if interval:
            statistic = lambda i: frechet_distance(x, y, features.covariance, torch.from_numpy(i))  # noqa: E731
            result["ci95"] = set_interval(statistic, n, resamples=50 if n <= 500 else 20)
        return result

    @staticmethod
    def text(value: float) -> str:
        """Two decimals below 10, one from there on, as the paper prints it."""
        return f"{value:.{2 if value < 9.995 else 1}f}"


def frechet_distance(x: Tensor, y: Tensor, covariance: str = "N-1", index: Tensor | None = None) -> float:
    """|mean_x - mean_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) of two sets of features, (N, D) and (M, D).

    ``covariance`` is the divisor of a covariance, "N-1" (the usual one) or "N". ``index`` selects rows of both sets, as
    a bootstrap draws them. Returns nan for fewer than two samples. Raises ValueError for features that are not finite.

    With S_x = A'A and S_y = B'B, the trace of the root is the sum of the singular values of A B'. This needs no complex
    numbers and is exact for fewer samples than dimensions. For more samples than dimensions, A' is the Cholesky factor
    of S_x, and the singular values are the square roots of the eigenvalues of A S_y A'.
    """
    n, m = (len(x), len(y)) if index is None else (len(index), len(index))
    if n < 2 or m < 2:
        return float("nan")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("FID: the features hold NaN or infinity")
    less = 1 if covariance == "N-1" else 0
    if min(n, m) > x.shape[1]:
        (mean_x, s_x), (mean_y, s_y) = _moments(x, index, less), _moments(y, index, less)
        traces, root_trace = s_x.trace() + s_y.trace(), _root_trace(s_x, s_y)
    else:
        x, y = (torch.cat(list(_chunks(z, index))) for z in (x, y))
        mean_x, mean_y = x.mean(0), y.mean(0)
        a, b = (_few_rows((z - mean) / (len(z) - less) ** 0.5) for z, mean in ((x, mean_x), (y, mean_y)))
        traces, root_trace = a.square().sum() + b.square().sum(), torch.linalg.svdvals(a @ b.T).sum()
    return float((mean_x - mean_y).square().sum() + traces - 2 * root_trace)


def _chunks(z: Tensor, index: Tensor | None) -> Iterator[Tensor]:
    """Blocks of rows in double precision: all 36 500 images of the paper at once would take 600 MB."""
    if index is None:
        yield from (chunk.double() for chunk in z.split(ROWS))
    else:
        yield from (z[rows].double() for rows in index.split(ROWS))


def _moments(z: Tensor, index: Tensor | None, less: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of (N, D)."""
    n = len(z) if index is None else len(index)
    mean = sum((chunk.sum(0) for chunk in _chunks(z, index)), torch.zeros(z.shape[1], dtype=torch.float64)) / n
    total = torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64)
    for chunk in _chunks(z, index):
        centred = chunk - mean
        total.addmm_(centred.T, centred)
    return mean, total / (n - less)


def _root_trace(s_x: Tensor, s_y: Tensor) -> Tensor:
    """tr((S_x S_y)^(1/2)) of two covariances."""
    factor, failed = torch.linalg.cholesky_ex(s_x)
    if failed:  # singular, for example where a feature is constant
        values, vectors = torch.linalg.eigh(s_x)
        factor = vectors * values.clamp(min=0).sqrt()
    product = factor.T @ s_y @ factor
    return torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()


def _few_rows(a: Tensor) -> Tensor:
    """A matrix B of at most D rows with B'B = A'A."""
    return a if len(a) <= a.shape[1] else torch.linalg.qr(a, mode="r").R

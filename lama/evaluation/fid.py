"""Fréchet Inception distance (Heusel et al., NeurIPS 2017), without a matrix square root."""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 4096  # of features that are in double precision at a time


def frechet_distance(x: Tensor, y: Tensor, covariance: str = "N-1", index: Tensor | None = None) -> float:
    """|mean_x - mean_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) of two sets of features, (N, D) and (M, D).

    ``covariance`` divides by N - 1, as most do, or by N. With S_x = A'A and S_y = B'B the trace of the root is the sum
    of the singular values of A B', nothing complex, and exact where there are fewer samples than dimensions. With more,
    A' is the Cholesky factor of S_x and the singular values are the roots of the eigenvalues of A S_y A'. nan for fewer
    than two samples. With ``index`` it is that of the rows it names, of both, as a bootstrap draws them. Raises
    ValueError for features that are not finite.
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
    """A few rows at a time, in double precision, in which the features of 36 500 images would take 600 MB."""
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
    if failed:  # singular: a feature that is constant, say
        values, vectors = torch.linalg.eigh(s_x)
        factor = vectors * values.clamp(min=0).sqrt()
    product = factor.T @ s_y @ factor
    return torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()


def _few_rows(a: Tensor) -> Tensor:
    """B of at most D rows with B'B = A'A."""
    return a if len(a) <= a.shape[1] else torch.linalg.qr(a, mode="r").R

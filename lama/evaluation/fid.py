"""Fréchet Inception distance (Heusel et al., NeurIPS 2017), without a matrix square root."""

import torch
from torch import Tensor

ROWS = 4096  # of features that are in double precision at a time


def frechet_distance(x: Tensor, y: Tensor, covariance: str = "N-1") -> float:
    """|mean_x - mean_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) of two sets of features, (N, D) and (M, D).

    ``covariance`` divides by N - 1, as most do, or by N. With S_x = A'A and S_y = B'B the trace of the root is the sum
    of the singular values of A B', nothing complex, and exact where there are fewer samples than dimensions. With more,
    A' is the Cholesky factor of S_x and the singular values are the roots of the eigenvalues of A S_y A'. nan for fewer
    than two samples. Raises ValueError for features that are not finite.
    """
    if len(x) < 2 or len(y) < 2:
        return float("nan")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("FID: the features hold NaN or infinity")
    less = 1 if covariance == "N-1" else 0
    mean_x, mean_y = (sum(chunk.double().sum(0) for chunk in z.split(ROWS)) / len(z) for z in (x, y))
    if min(len(x), len(y)) > x.shape[1]:
        s_x, s_y = _covariance(x, mean_x, less), _covariance(y, mean_y, less)
        traces, root_trace = s_x.trace() + s_y.trace(), _root_trace(s_x, s_y)
    else:
        a, b = (_few_rows((z.double() - mean) / (len(z) - less) ** 0.5) for z, mean in ((x, mean_x), (y, mean_y)))
        traces, root_trace = a.square().sum() + b.square().sum(), torch.linalg.svdvals(a @ b.T).sum()
    return float((mean_x - mean_y).square().sum() + traces - 2 * root_trace)


def _covariance(z: Tensor, mean: Tensor, less: int) -> Tensor:
    """(D, D) of (N, D), a few rows at a time: the features of 36 500 pictures take 600 MB in double precision."""
    total = torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64)
    for chunk in z.split(ROWS):
        centred = chunk.double() - mean
        total.addmm_(centred.T, centred)
    return total / (len(z) - less)


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

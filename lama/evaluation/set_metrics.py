"""Metrics of whole sets, from Inception features, and the scores that combine one with a similarity.

FID (Heusel et al., NeurIPS 2017) without a matrix square root; KID (Binkowski et al., ICLR 2018), which is unbiased, so
sets of different sizes can be compared; P-IDS and U-IDS (Zhao et al., CoModGAN, ICLR 2021).
"""

import warnings
from collections.abc import Iterator
from math import inf
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lama.evaluation.statistics import set_interval, summary
from lama.interfaces import DerivedMetric, SetFeatures, SetMetric

ROWS = 4096  # rows of features that are converted to double precision at a time
SUBSET = 1000
SUBSETS = 100
Flags = NDArray[np.float64]


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


class KID(SetMetric):
    """Kernel Inception distance; an unbiased estimate of a distance can be negative."""

    label, higher_is_better, bounds = "KID", False, (-inf, inf)

    def measure(self, features: SetFeatures, interval: bool) -> dict[str, Any]:
        x, y, n = torch.from_numpy(features.fake), torch.from_numpy(features.real), len(features.fake)
        mean, std = kernel_distance(x, y)
        result: dict[str, Any] = {"mean": mean, "std": std, "n": n}
        if interval:
            result["ci95"] = set_interval(lambda i: kernel_distance(x[i], y[i], subsets=1)[0], n)
        return result


def kernel_distance(fake: Tensor, real: Tensor, seed: int = 2020, subsets: int = SUBSETS) -> tuple[float, float]:
    """Mean and standard deviation over ``subsets`` subsets of the unbiased squared MMD of features (N, D) and (M, D).

    The kernel is (x.y / D + 1)^3. Subsets hold 1000 images, or all of a smaller set, drawn without replacement, as in
    torch-fidelity. Returns nan for fewer than two images.
    """
    size = min(SUBSET, len(fake), len(real))
    if size < 2:
        return float("nan"), float("nan")
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x = fake[torch.from_numpy(rng.choice(len(fake), size, replace=False))].double()
        y = real[torch.from_numpy(rng.choice(len(real), size, replace=False))].double()
        values.append(_unbiased_mmd(x, y))
        if size == len(fake) == len(real):  # every subset is the whole set
            break
    return float(np.mean(values)), float(np.std(values))


def _unbiased_mmd(x: Tensor, y: Tensor) -> float:
    n, dim = x.shape
    xx, yy, xy = ((a @ b.T / dim + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.diagonal().sum() + yy.sum() - yy.diagonal().sum()) / (n * (n - 1))
    return float(within - 2 * xy.mean())


class PIDS(SetMetric):
    """P-IDS: the share of images that look more real to a linear SVM than their originals."""

    label, higher_is_better, bounds = "P-IDS", True, (0.0, 1.0)
    which: ClassVar = 0

    def measure(self, features: SetFeatures, interval: bool) -> dict[str, Any]:
        if "inception discriminative scores" not in features.shared:
            scores = discriminative_scores(features.fake, features.real)
            features.shared["inception discriminative scores"] = scores
        flags = features.shared["inception discriminative scores"][self.which]
        return summary(flags, interval) | {"n": len(features.fake)}


class UIDS(PIDS):
    """U-IDS: the error of the same linear SVM on the images that it was fitted to."""

    label, which = "U-IDS", 1


def discriminative_scores(fake: NDArray[np.float32], real: NDArray[np.float32]) -> tuple[Flags, Flags]:
    """P-IDS and U-IDS of features (N, D) of completed images and of the true ones in the same order, as flags.

    A linear SVM is fitted to tell real (1) from fake (0). The mean of the first flags (N,) is P-IDS: the share of
    images with a higher decision value for the fake than for the original. The mean of the second flags (2 N,) is
    U-IDS: the error of the SVM on its own training data. 0.5 is perfect. Raises ValueError where scikit-learn is
    missing.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC
    except ImportError:
        raise ValueError("metrics p_ids and u_ids need scikit-learn: pip install '.[eval]'") from None
    features = np.concatenate([real, fake]).astype(np.float64)
    labels = np.concatenate([np.ones(len(real)), np.zeros(len(fake))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as published, the fit stops at 1000 iterations
        classifier = LinearSVC(dual=False).fit(features, labels)
    decisions = classifier.decision_function(features)
    n = len(real)
    wrong = classifier.predict(features) != labels
    return (decisions[n:] > decisions[:n]).astype(np.float64), wrong.astype(np.float64)


def fid100_f1(similarity: float, fid: float) -> float:
    """2 s f / (s + f + 0.001) with f = max(0, 100 - FID) / 100."""
    relative = max(0.0, 100 - fid) / 100
    return 2 * similarity * relative / (similarity + relative + 1e-3)


class SSIMFidF1(DerivedMetric):
    """Harmonic mean of SSIM and (100 - FID) / 100. The bounds hold where SSIM is not negative."""

    label, higher_is_better, bounds = "SSIM-FID F1", True, (0.0, 1.0)
    parts = ("ssim", "fid")
    monitor_rank = 0  # the published trainings use it

    def combine(self, *means: float) -> float:
        return fid100_f1(*means)


class LPIPSFidF1(DerivedMetric):
    """Harmonic mean of 1 - LPIPS and (100 - FID) / 100. The bounds hold where LPIPS is at most 1."""

    label, higher_is_better, bounds = "LPIPS-FID F1", True, (0.0, 1.0)
    parts = ("lpips_vgg", "fid")
    monitor_rank = 1

    def combine(self, *means: float) -> float:
        distance, fid = means
        return fid100_f1(1 - distance, fid)

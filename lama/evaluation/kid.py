"""Kernel Inception distance (Binkowski et al., ICLR 2018): unbiased, so sets of different sizes can be compared."""

from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lama.evaluation.statistics import set_interval
from lama.interfaces import SetFeatures, SetMetric

SUBSET = 1000
SUBSETS = 100


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

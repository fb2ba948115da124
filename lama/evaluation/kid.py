"""Kernel Inception distance (Binkowski et al., ICLR 2018): unbiased, so that sets of different sizes compare."""

import numpy as np
import torch
from torch import Tensor

SUBSET = 1000
SUBSETS = 100


def kernel_distance(fake: Tensor, real: Tensor, seed: int = 2020, subsets: int = SUBSETS) -> tuple[float, float]:
    """Mean and deviation over ``subsets`` subsets of the unbiased squared MMD of features (N, D) and (M, D).

    Polynomial kernel (x.y / D + 1)^3, subsets of 1000 drawn without replacement (of all where there are fewer), as
    torch-fidelity has it. nan for fewer than two images.
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

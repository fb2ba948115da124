"""The Fréchet distance in 2048 dimensions, compared with scipy's matrix square root."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lama.bench.timing import alternate, table
from lama.evaluation.fid import frechet_distance


def bench_fid(n: int = 5000, dimensions: int = 2048, rounds: int = 2) -> list[str]:
    """Lines of a table, and the relative difference of the two distances."""
    rng = np.random.default_rng(0)
    mix = np.eye(dimensions) + 0.1 * rng.standard_normal((dimensions, dimensions))
    x, y = (rng.standard_normal((n, dimensions)) @ mix, 1.1 * rng.standard_normal((n, dimensions)) + 0.1)
    contenders = {
        "scipy.linalg.sqrtm": partial(_by_scipy, x, y),
        "lama.evaluation.fid": partial(frechet_distance, torch.from_numpy(x), torch.from_numpy(y)),
    }
    lines = table(alternate(contenders, rounds, "fid"), 1, "FIDs")
    plain, ours = (run() for run in contenders.values())
    return [
        *lines,
        f"{n} x {dimensions} features: {plain:.8g} and {ours:.8g}, relative difference {abs(ours / plain - 1):.1e}",
    ]


def _by_scipy(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    import scipy.linalg

    s_x, s_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s_x @ s_y)
    means = x.mean(axis=0) - y.mean(axis=0)
    return float(means @ means + np.trace(s_x) + np.trace(s_y) - 2 * np.trace(root.real))

"""The membrane: a step at the border of a hole, spread over the hole as the solution of Laplace's equation.

An offset of colour between a network's result and the surroundings thus vanishes without a seam (Perez et al., "Poisson
image editing", SIGGRAPH 2003). Up to ``DIRECT`` unknowns are solved exactly. Larger holes are solved exactly at the
resolution that has so few, enlarged, and relaxed by ``STEPS`` Jacobi steps on each finer level: the largest error is
then about 3 % of the range of the border's values, the mean error under 1 % (``tests/test_detail.py``).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from lama.machine.startup import later

DIRECT = 6000
STEPS = 8
_SQUARE = np.ones((3, 3), np.uint8)
Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


def level_guide(guide: Field, hole: Mask, sigma: float) -> Field:
    """The guide without the step at the hole's border.

    ``guide`` is (H, W, C), the image outside the (H, W) hole; the result differs inside it only. The step is measured
    between Gaussian means of ``sigma`` pixels of either side. Where nothing is known, nothing changes.
    """
    if hole.all() or not hole.any():
        return guide
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    rim = int(4 * sigma) + 2
    box = np.s_[max(rows[0] - rim, 0) : rows[-1] + rim + 1, max(columns[0] - rim, 0) : columns[-1] + rim + 1]
    result = guide.copy()
    result[box] += _correction(guide[box], hole[box], sigma)
    return result


def _correction(guide: Field, hole: Mask, sigma: float) -> Field:
    inside = hole.astype(np.float32)
    border = hole & (cv2.erode(hole.astype(np.uint8), _SQUARE, borderValue=1) == 0)
    step = np.where(border[..., None], _mean(guide, 1 - inside, sigma) - _mean(guide, inside, sigma), 0)
    field = harmonic(step.astype(np.float32), border, hole)
    return np.where(hole[..., None], _mean(field, inside, sigma), 0).astype(np.float32)


def _mean(values: Field, weight: Field, sigma: float) -> Field:
    """The Gaussian mean of what ``weight`` (H, W) counts."""
    count = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    return np.asarray(cv2.GaussianBlur(values * weight[..., None], (0, 0), sigma) / count[..., None])


def harmonic(values: Field, fixed: Mask, region: Mask) -> Field:
    """(H, W, C): ``values`` where ``fixed``, harmonic in the rest of ``region``, whose other edges reflect.

    Parts of the region without a fixed pixel become 0.
    """
    if np.count_nonzero(region & ~fixed) <= DIRECT or min(region.shape) <= 4:
        return _exact(values, fixed, region)
    height, width = region.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    known = fixed.astype(np.float32)
    share = _shrink(known, half)
    coarse_values = (_shrink(values * known[..., None], half) / np.maximum(share, 1e-6)[..., None]).astype(np.float32)
    coarse = harmonic(coarse_values, share > 0, _shrink(region.astype(np.float32), half) > 0)
    enlarged = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(values.shape)
    return _relax(np.where(fixed[..., None], values, enlarged), fixed, region)


def _shrink(values: Field, size: tuple[int, int]) -> Field:
    shrunk = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    return shrunk.reshape(*shrunk.shape[:2], *values.shape[2:])  # OpenCV drops a single channel


def _relax(field: Field, fixed: Mask, region: Mask) -> Field:
    part = (region | fixed).astype(np.float32)
    count = np.maximum(cv2.blur(part, (3, 3)), 1e-6)[..., None]
    free = (region & ~fixed)[..., None]
    for _ in range(STEPS):
        mean = cv2.blur(field * part[..., None], (3, 3)).reshape(field.shape) / count
        field = np.where(free, mean, field)
    return field


def _exact(values: Field, fixed: Mask, region: Mask) -> Field:
    """By sparse LU of the five-point Laplacian."""
    with later("numpy.f2py"):  # SciPy imports it with all of NumPy, and does not use it; half of SciPy's own time
        import scipy.sparse as sparse  # at the first hole: it takes a tenth of the time that torch takes
        from scipy.sparse.linalg import splu

    free = region & ~fixed
    result = np.where(fixed[..., None], values, 0).astype(np.float32)
    count = int(free.sum())
    if not count:
        return result
    number = np.full(free.shape, -1)
    number[free] = np.arange(count)
    number, part = np.pad(number, 1, constant_values=-1), np.pad(fixed, 1)
    bordering, rows, columns = np.full(count, 1e-9), [], []
    right = np.zeros((count, values.shape[2]))
    padded = np.pad(result, ((1, 1), (1, 1), (0, 0)))
    y, x = np.nonzero(np.pad(free, 1))
    for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
        other, known = number[y + dy, x + dx], part[y + dy, x + dx]
        bordering += (other >= 0) | known
        right += np.where(known[:, None], padded[y + dy, x + dx], 0)
        inner = np.flatnonzero(other >= 0)
        rows.append(inner)
        columns.append(other[inner])
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.coo_matrix((np.full(len(row), -1.0), (row, column)), (count, count)) + sparse.diags(bordering)
    result[free] = splu(matrix.tocsc()).solve(right)
    return result

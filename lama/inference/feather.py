"""Feathering: the step between known pixels and the fill is smoothed inside the hole."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lama.pixels.opened import Array, to_kind, white

_ROWS = 512  # at a time: a large image needs little memory
_CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)


def feather(filled: Array, hole: NDArray[np.bool_], width: int) -> Array:
    """Soften the seam over ``width`` pixels: (H, W, 3) completed and (H, W) hole -> the same, corrected.

    Known pixels stay the same, bit for bit; only the fill next to them changes. At the border of the hole the step
    is s = (mean of the known neighbours) - (fill). A Gaussian of sigma = width / 2 averages it along the border and
    continues it into the hole. It is added with a weight that falls from 1 at the border to 0 at ``width`` pixels::

        fill'(x) = fill(x) + max(0, 1 - (d(x) - 1) / width) * (G * s)(x) / (G * border)(x),    d = 1 at the border

    A colour offset between fill and surroundings becomes a ramp. Texture stays, since its steps average out. A real
    edge exactly along the border of the hole is smoothed as well: masks should include one or two pixels of background
    around an object.
    """
    result = filled.copy()
    for top in range(0, len(hole), _ROWS):
        halo = 2 * width + 2  # the average reaches 1.5 width, neighbours one pixel
        first, stop = max(0, top - halo), top + _ROWS + halo
        band = slice(first, stop)
        if hole[top : top + _ROWS].any():
            inner = slice(top - first, top - first + len(hole[top : top + _ROWS]))
            corrected = _correct(filled[band], hole[band], width)[inner]
            inside = hole[top : top + _ROWS]
            result[top : top + _ROWS][inside] = corrected[inside]
    return result


def _correct(filled: Array, hole: NDArray[np.bool_], width: int) -> Array:
    """(h, w, 3) in the image's type, right inside the hole."""
    values = filled.astype(np.float32) / white(filled.dtype)
    known = (~hole).astype(np.float32)
    neighbours = _filter(known, _CROSS)
    border = (hole & (neighbours > 0)).astype(np.float32)
    step = _filter(values * known[..., None], _CROSS) / np.maximum(neighbours, 1)[..., None] - values
    size = 2 * int(np.ceil(1.5 * width)) + 1
    blur = cv2.getGaussianKernel(size, width / 2).astype(np.float32)
    total = _separable(step * border[..., None], blur) / np.maximum(_separable(border, blur), 1e-12)[..., None]
    distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    weight = np.clip(1 - (distance - 1) / width, 0, 1) * hole
    changed = weight > 0
    result = filled.copy()
    result[changed] = to_kind((values + weight[..., None] * total)[changed], filled.dtype)
    return result


def _filter(x: Array, kernel: Array) -> Array:
    return np.asarray(cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_CONSTANT))


def _separable(x: Array, kernel: Array) -> Array:
    return np.asarray(cv2.sepFilter2D(x, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT))

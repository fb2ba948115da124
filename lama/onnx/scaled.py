"""A window at another size, without OpenCV: for a network that sees a hole at the scale that it was trained at."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lama.pixels.opened import Array, OpenedImage, to_kind, white
from lama.windows import Window

LEAST = 64  # pixels of the shorter side


def reduced(opened: OpenedImage, window: Window, scale: int) -> OpenedImage:
    """The window with its longer side brought to ``scale`` pixels if it is longer, the shorter one 64 at least.

    A reduced pixel is the mean of the area that it covers. It is in the hole if one of its pixels was, in part.
    """
    pixels, hole = opened.pixels[window.slices], opened.hole[window.slices]
    ignored = None if opened.ignored is None else opened.ignored[window.slices]
    factor = max(scale / max(hole.shape), LEAST / min(hole.shape))
    if factor < 1:
        size = max(round(window.height * factor), 1), max(round(window.width * factor), 1)
        pixels = to_kind(_means(pixels / white(pixels.dtype), size), pixels.dtype)
        hole = _means(hole, size) > 0.5 / 255  # as in 8 bits
        ignored = None if ignored is None else _means(ignored, size) > 0.5 / 255
    return OpenedImage(pixels, hole, lambda filled: filled, ignored)


def enlarged(pixels: Array, height: int, width: int) -> Array:
    """(h, w, 3) at another size by cubic interpolation, in the same type."""
    values = pixels.astype(np.float32) / white(pixels.dtype)
    planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in values.transpose(2, 0, 1))
    larger = [np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC)) for plane in planes]
    return to_kind(np.stack(larger, axis=2), pixels.dtype)


def _means(values: Array, size: tuple[int, int]) -> NDArray[np.float64]:
    """(H, W, ...) -> its means over ``size`` rectangles, which share the pixels that their borders cut."""
    result = values.astype(np.float64)
    for axis, count in enumerate(size):
        result = result.swapaxes(0, axis)
        length = len(result)
        sums = np.concatenate([np.zeros_like(result[:1]), result.cumsum(axis=0)])
        borders = np.arange(count + 1) * (length / count)
        whole = np.minimum(borders.astype(int), length - 1)
        part = (borders - whole).reshape(-1, *[1] * (result.ndim - 1))
        result = np.diff(sums[whole] + part * result[whole], axis=0) * (count / length)
        result = result.swapaxes(0, axis)
    return result

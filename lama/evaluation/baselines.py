"""Classical baselines: OpenCV's two inpainting methods, and the mean colour."""

from collections.abc import Callable

import cv2
import numpy as np

from lama.interfaces import ImageArray, MaskArray


def mean_colour(image: ImageArray, mask: MaskArray) -> ImageArray:
    """Fill the hole with the mean of the known pixels (mid-grey where nothing is known)."""
    fill = image[~mask].mean(axis=0) if not mask.all() else np.full(3, 127.5)
    return np.where(mask[..., None], fill.round().astype(np.uint8), image)


def telea(image: ImageArray, mask: MaskArray) -> ImageArray:
    """Telea, "An image inpainting technique based on the fast marching method", 2004; radius 3."""
    return _opencv(image, mask, cv2.INPAINT_TELEA)


def navier_stokes(image: ImageArray, mask: MaskArray) -> ImageArray:
    """Bertalmio et al., "Navier-Stokes, fluid dynamics, and image and video inpainting", 2001; radius 3."""
    return _opencv(image, mask, cv2.INPAINT_NS)


def _opencv(image: ImageArray, mask: MaskArray, method: int) -> ImageArray:
    """The hole is set to black first: for a mask without known pixels, OpenCV returns its input."""
    blanked = np.where(mask[..., None], np.uint8(0), image)
    return cv2.inpaint(blanked, mask.astype(np.uint8), 3, method).astype(np.uint8)


BASELINES: dict[str, Callable[[ImageArray, MaskArray], ImageArray]] = {
    "OpenCV Telea": telea,
    "OpenCV Navier-Stokes": navier_stokes,
    "mean colour": mean_colour,
}


def find_baseline(name: str) -> Callable[[ImageArray, MaskArray], ImageArray]:
    """``telea``, ``navier_stokes`` or ``mean_colour``. Raises ValueError for another name."""
    known = {fill.__name__: fill for fill in BASELINES.values()}
    if name not in known:
        raise ValueError(f"baseline={name}: unknown; known: {', '.join(known)}")
    return known[name]

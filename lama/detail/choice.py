"""What the surroundings of a hole say of a guide: whether it is as sharp as they are, and which colours it may have."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SIGMA = 1.5  # pixels: finer than this is sharpness
_RING = 16  # pixels around the hole that its sharpness is compared with
_AS_SHARP = (0.8, 1.4)  # more than the surroundings have is no texture of theirs, but a grid or noise
_VISIBLE = 0.7  # units of L: a smooth region has no texture to compare


def is_sharp(lab: NDArray[np.float32], hole: NDArray[np.bool_], target: NDArray[np.bool_]) -> bool:
    """``lab`` (H, W, 3) holds the guide in ``hole``; ``target`` is the part of the hole that is asked about.

    If it is, it has detail of its own, which is better kept. Sharpness is the root mean square of L - Gaussian(L);
    measured in networks' results, it is about 0.4 of the ring's for lama-small, and as much as the ring's for MI-GAN.
    """
    ring = _ring(hole, target, _RING)
    if not ring.any():
        return False
    fine = np.square(lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), _SIGMA))
    inside, around = float(np.sqrt(fine[target].mean())), float(np.sqrt(fine[ring].mean()))
    return around > _VISIBLE and _AS_SHARP[0] <= inside / around <= _AS_SHARP[1]


def limit_colours(lab: NDArray[np.float32], hole: NDArray[np.bool_], target: NDArray[np.bool_], reach: float) -> None:
    """Clip the target to the range of each channel within ``reach`` pixels, 1st to 99th percentile, in place.

    A guide of a grey photograph thus is grey, and a stain of a colour that is nowhere around goes.
    """
    ring = _ring(hole, target, max(round(reach), 1))
    if ring.any():
        low, high = np.percentile(lab[ring][:: max(int(ring.sum()) // 20_000, 1)], (1, 99), axis=0)
        lab[target] = lab[target].clip(low.astype(np.float32), high.astype(np.float32))


def _ring(hole: NDArray[np.bool_], target: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Known pixels at most ``reach`` pixels from the target, along rows and columns."""
    side = 2 * reach + 1
    count = cv2.boxFilter(target.astype(np.float32), -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(count > 0.5) & ~hole

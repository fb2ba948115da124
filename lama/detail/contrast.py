"""The contrast that a mean of several patches loses, given back: a blend keeps its variance (Heitz and Neyret 2018)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lama.detail.level import UNIT, Level

_SIGMA = 3.0  # pixels of the Gaussian by which both contrasts are measured
_LEAST = 0.02  # squared units of Lab, added to both: a smooth region has no contrast to restore
_MOST = 2.0  # times


def sharpened(level: Level) -> NDArray[np.float32]:
    """(H, W, 3) in units of Lab, without the frame: the voted detail, with the contrast of the patches that voted.

    The detail is multiplied by 1 to 2, so that its local mean square equals the mean square of these patches.
    """
    r = level.radius
    inner = np.s_[r:-r, r:-r]
    detail = level.detail[inner][..., :3].astype(np.float32) / np.float32(UNIT)
    inside = level.hole[inner].astype(np.float32)
    wanted = level.energy[inner].astype(np.float32) / np.float32(UNIT**2)
    sought, found = (
        cv2.GaussianBlur((energy + np.float32(_LEAST)) * inside, (0, 0), _SIGMA)
        for energy in (wanted, np.square(detail).sum(2))
    )
    gain = np.sqrt(sought / np.maximum(found, np.float32(1e-9))).clip(1, _MOST)
    return detail * np.where(inside > 0, gain, 1).astype(np.float32)[..., None]

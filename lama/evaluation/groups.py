"""Groups of an evaluation set by the hole's share of each image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TOTAL = "total"


def lama_bins(areas: Sequence[float], edge: str = "offline") -> list[str]:
    """LaMa's names of ten equal bins, ``0-10%`` to ``90-100%``, one per mask area (0..1).

    An area on the edge of two bins belongs to the upper bin by the ``offline`` rule (``evaluate_predicts.py``) and to
    the lower bin by the ``online`` rule (validation during training). Edges are numpy's linspace, as in the official
    code, with its rounding: 0.3 counts as 20-30 %. Raises ValueError for another rule.
    """
    if edge not in ("offline", "online"):
        raise ValueError(f"edge={edge}: expected offline or online")
    edges = np.linspace(0, 1, 11)
    index = np.searchsorted(edges, np.asarray(areas, float), side="right" if edge == "offline" else "left")
    index = np.clip(index - 1, 0, 9)
    return [f"{10 * i}-{10 * i + 10}%" for i in index.tolist()]


def comodgan_bins(areas: Sequence[float]) -> list[str]:
    """CoModGAN's five groups of hole area, ``h0 0-20%`` to ``h4 80-100%``."""
    index = np.clip((np.asarray(areas) * 5).astype(int), 0, 4)
    return [f"h{i} {20 * i}-{20 * i + 20}%" for i in index.tolist()]


GROUPINGS = {
    "lama": lambda areas: lama_bins(areas),
    "lama_online": lambda areas: lama_bins(areas, edge="online"),
    "comodgan": comodgan_bins,
    "none": lambda areas: [TOTAL for _ in areas],
}


def members(labels: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """{group: indices of its images}, sorted by the first number in the groups' names."""
    order = sorted(
        set(labels), key=lambda name: float("".join(c for c in name.split("-")[0] if c.isdigit() or c == ".") or 0)
    )
    array = np.asarray(labels)
    return {name: np.flatnonzero(array == name) for name in order}

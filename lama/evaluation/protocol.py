"""Named protocols: all settings that influence a number, except the images. Groups of images by the hole's share."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lama.pretrained import WEIGHT_FILES

TOTAL = "total"


@dataclass(frozen=True)
class Protocol:
    """The settings of an evaluation. Two numbers are comparable only under the same protocol, on the same set."""

    name: str
    inception_resize: str  # a name of evaluation.inception.RESIZES
    covariance: str  # "N-1" or "N"
    lpips_backbone: str  # the one that the source reports
    quantised: str  # precision of the images
    source: str  # the code with these settings

    def describe(self) -> dict[str, Any]:
        """Plain values for metrics.json, with the published sha256 (or its first digits) of the weight files."""
        weights = {name: WEIGHT_FILES[name].sha256 for name in ("fid_inception", f"lpips_{self.lpips_backbone}")}
        return asdict(self) | {"published_weights_sha256": weights}


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("lama", "bilinear", "N-1", "vgg", "8 bit",
                 "saic-mdal/lama, bin/evaluate_predicts.py"),
        Protocol("pytorch-fid", "bilinear", "N-1", "alex", "8 bit", "mseitzer/pytorch-fid 0.3.0"),
        Protocol("mat", "tensorflow", "N", "alex", "8 bit", "fenglinglwb/MAT, evaluatoin/"),
        Protocol("clean", "pillow", "N-1", "alex", "8 bit", "GaParmar/clean-fid"),
    )
}  # fmt: skip


def find_protocol(name: str) -> Protocol:
    """Raises ValueError for an unknown name."""
    if name not in PROTOCOLS:
        raise ValueError(f"protocol={name}: unknown; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def lama_bins(areas: Sequence[float], bins: int = 10, edge: str = "offline") -> list[str]:
    """LaMa's names of equal bins, ``0-10%`` to ``90-100%``, one per mask area (0..1).

    An area on the edge of two bins belongs to the upper bin by the ``offline`` rule (``evaluate_predicts.py``) and to
    the lower bin by the ``online`` rule (validation during training). Edges are numpy's linspace, as in the official
    code, with its rounding: 0.3 counts as 20-30 %. Raises ValueError for another rule.
    """
    if edge not in ("offline", "online"):
        raise ValueError(f"edge={edge}: expected offline or online")
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges, np.asarray(areas, float), side="right" if edge == "offline" else "left")
    index = np.clip(index - 1, 0, bins - 1)
    decimals = max(0, int(np.ceil(np.log10(bins))) - 1)
    names = [f"{100 * a:.{decimals}f}-{100 * b:.{decimals}f}%" for a, b in itertools.pairwise(edges)]
    return [names[i] for i in index.tolist()]


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

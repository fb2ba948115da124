"""Named protocols of FID and its kin: how images become features, and features a covariance."""

from dataclasses import asdict, dataclass
from typing import Any

from lama.pretrained import WEIGHT_FILES


@dataclass(frozen=True)
class Protocol:
    """The settings of an evaluation. Two numbers are comparable only under the same protocol, on the same set."""

    name: str
    inception_resize: str  # a name of evaluation.inception.RESIZES
    covariance: str  # "N-1" or "N"
    source: str  # the code with these settings

    def describe(self) -> dict[str, Any]:
        """Plain values for metrics.json, with the sha256 of the published Inception."""
        return asdict(self) | {"published_inception_sha256": WEIGHT_FILES["fid_inception"].sha256}


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("lama", "bilinear", "N-1", "saic-mdal/lama, bin/evaluate_predicts.py"),
        Protocol("pytorch-fid", "bilinear", "N-1", "mseitzer/pytorch-fid 0.3.0"),
        Protocol("mat", "tensorflow", "N", "fenglinglwb/MAT, evaluatoin/"),
        Protocol("clean", "pillow", "N-1", "GaParmar/clean-fid"),
    )
}


def find_protocol(name: str) -> Protocol:
    """Raises ValueError for an unknown name."""
    if name not in PROTOCOLS:
        raise ValueError(f"protocol={name}: unknown; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

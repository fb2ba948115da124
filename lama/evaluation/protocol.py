"""Named protocols: everything that moves a number besides the images themselves."""

from dataclasses import asdict, dataclass
from typing import Any

from lama.pretrained import WEIGHT_FILES


@dataclass(frozen=True)
class Protocol:
    """How an evaluation is done. Two numbers compare only under the same protocol, on the same set."""

    name: str
    inception_resize: str  # of evaluation.inception.RESIZES
    covariance: str  # "N-1" or "N"
    lpips_trunk: str  # that its authors report
    quantised: str  # what the images have been through
    source: str

    def describe(self) -> dict[str, Any]:
        """Plain values for metrics.json, with the sha256 of the network weights as far as it is published."""
        weights = {name: WEIGHT_FILES[name].sha256 for name in ("fid_inception", f"lpips_{self.lpips_trunk}")}
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

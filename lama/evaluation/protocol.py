"""Named protocols: all settings that influence a number, except the images."""

from dataclasses import asdict, dataclass
from typing import Any

from lama.pretrained import WEIGHT_FILES


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

"""Loss terms. A term is one file, one name here, and one entry in a YAML of ``configs/training/losses``."""

from lama.losses.adversarial import NonSaturatingAdversarialLoss
from lama.losses.feature_matching import FeatureMatchingLoss
from lama.losses.lpips import LPIPSLoss
from lama.losses.objective import Objective
from lama.losses.perceptual import HRFPerceptualLoss, VGGPerceptualLoss
from lama.losses.reconstruction import MaskedL1Loss

__all__ = [
    "FeatureMatchingLoss", "HRFPerceptualLoss", "LPIPSLoss", "MaskedL1Loss", "NonSaturatingAdversarialLoss",
    "Objective", "VGGPerceptualLoss",
]  # fmt: skip

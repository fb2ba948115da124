"""The science of a training: the LightningModule with its two updates, averages of weights, learning rates, starts."""

import lama.torchvision_ops  # noqa: F401  (before lightning)
from lama.training.initialise import check_start, initialise
from lama.training.module import InpaintingModule

__all__ = ["InpaintingModule", "check_start", "initialise"]

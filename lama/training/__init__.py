"""The training step of LaMa as a LightningModule, averaged weights, learning rates, initial weights."""

import lama.torchvision_ops  # noqa: F401  (before lightning)
from lama.training.initialise import check_start, initialise
from lama.training.learning_rates import check_optimizers
from lama.training.module import InpaintingModule

__all__ = ["InpaintingModule", "check_optimizers", "check_start", "initialise"]

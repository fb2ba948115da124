"""Training: the LightningModule, what a run writes, and the run itself."""

import lama.torchvision_ops  # noqa: F401  (before lightning)
from lama.training.checkpointing import Checkpoints
from lama.training.faults import Faults
from lama.training.initialise import initialise
from lama.training.module import InpaintingModule
from lama.training.resume import find_run
from lama.training.run import train

__all__ = ["Checkpoints", "Faults", "InpaintingModule", "find_run", "initialise", "train"]

"""Training: the LightningModule, what a run writes, and the run itself."""

import lama.torchvision_ops  # noqa: F401  (before lightning)
from lama.training.checkpointing import Checkpoints
from lama.training.debug import Limit, Overfit, Profile
from lama.training.dry_run import dry_run
from lama.training.faults import Faults
from lama.training.initialise import check_start, initialise
from lama.training.module import InpaintingModule
from lama.training.resume import find_run
from lama.training.run import train

__all__ = [
    "Checkpoints",
    "Faults",
    "InpaintingModule",
    "Limit",
    "Overfit",
    "Profile",
    "check_start",
    "dry_run",
    "find_run",
    "initialise",
    "train",
]

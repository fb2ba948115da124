"""A run and its folder: start and resume a training, checkpoints, signals, processes, curves and the report."""

import lama.torchvision_ops  # noqa: F401  (before lightning)
from lama.runs.checkpointing import Checkpoints
from lama.runs.debug import Limit, Overfit, Profile
from lama.runs.dry_run import dry_run
from lama.runs.loggers import Csv, MLflow, TensorBoard, Wandb
from lama.runs.non_finite_guard import NonFiniteGuard
from lama.runs.resume import find_run
from lama.runs.run import train

__all__ = [
    "Checkpoints", "Csv", "Limit", "MLflow", "NonFiniteGuard", "Overfit", "Profile", "TensorBoard", "Wandb", "dry_run",
    "find_run", "train",
]  # fmt: skip

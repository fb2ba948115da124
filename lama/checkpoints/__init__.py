"""Files that hold networks: our format, and formats of other programs."""

from lama.checkpoints.architecture import Description, differences, looks_like
from lama.checkpoints.conversion import convert
from lama.checkpoints.format import save_generator
from lama.checkpoints.load import Checkpoint, find_weights, in_folder, load_generator, open_checkpoint
from lama.checkpoints.official import save_official

__all__ = [
    "Checkpoint",
    "Description",
    "convert",
    "differences",
    "find_weights",
    "in_folder",
    "load_generator",
    "looks_like",
    "open_checkpoint",
    "save_generator",
    "save_official",
]

"""Files that hold networks."""

from lama.checkpoints.format import find_weights, load_generator, save_generator

__all__ = ["find_weights", "load_generator", "save_generator"]

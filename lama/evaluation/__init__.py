"""Metrics over evaluation sets. They take tensors of images, not networks."""

from lama.evaluation.evaluator import Evaluator
from lama.evaluation.metrics import METRICS, PRESETS, higher_is_better

__all__ = ["METRICS", "PRESETS", "Evaluator", "higher_is_better"]

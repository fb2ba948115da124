"""Metrics over evaluation sets; they get tensors, not networks."""

from lama.evaluation.evaluator import METRICS, PRESETS, Evaluator, higher_is_better

__all__ = ["METRICS", "PRESETS", "Evaluator", "higher_is_better"]

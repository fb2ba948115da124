"""Metrics over evaluation sets; they get tensors, not networks."""

from lama.evaluation.evaluator import METRICS, Evaluator

__all__ = ["METRICS", "Evaluator"]

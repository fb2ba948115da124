"""Metrics over evaluation sets. They take tensors of images, not networks."""

from lama.evaluation.benchmark import Benchmark
from lama.evaluation.evaluator import Evaluator
from lama.evaluation.metrics import METRICS, PRESETS, higher_is_better

__all__ = ["METRICS", "PRESETS", "Benchmark", "Evaluator", "higher_is_better"]

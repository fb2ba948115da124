"""Blind comparison of methods by people: the page, the votes, Bradley-Terry scores, agreement with metrics."""

from lama.study.serve import serve_study

__all__ = ["serve_study"]

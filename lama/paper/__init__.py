"""The paper's tables, from the published numbers and from our own evaluations."""

from lama.paper.tables import make_tables

__all__ = ["make_tables"]

"""Published numbers, and the paper's tables drawn from them and from runs of one's own."""

from lama.paper.tables import make_tables

__all__ = ["make_tables"]

"""The web page for painting a mask, and its JSON endpoint (extra ``demo``)."""

from lama.demo.serve import serve

__all__ = ["serve"]

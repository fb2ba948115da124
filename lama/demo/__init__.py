"""The page on which a person paints a mask, and the JSON endpoint behind it (extra ``demo``)."""

from lama.demo.serve import serve

__all__ = ["serve"]

"""Self-contained HTML pages with a common style and embedded images; tables for Markdown and LaTeX."""

from lama.pages.page import data_url, image_url, render, with_hole

__all__ = ["data_url", "image_url", "render", "with_hole"]

"""Self-contained pages to look at: one look for all of them, images inside the file."""

from lama.pages.page import data_url, image_url, render, with_hole

__all__ = ["data_url", "image_url", "render", "with_hole"]

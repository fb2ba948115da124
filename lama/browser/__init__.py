"""A page that removes objects in the browser itself: a folder of static files, computed by onnxruntime-web."""

from lama.browser.page import write_page

__all__ = ["write_page"]

"""Image files: reading and writing with metadata, mask files, and the list of images to predict."""

from lama.pictures.masks import MaskReader

__all__ = ["MaskReader"]

"""Image files of people: reading and writing them with their metadata, masks as files, what to predict and where to."""

from lama.pictures.masks import MaskReader

__all__ = ["MaskReader"]

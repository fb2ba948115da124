"""Which part of an image is computed at once: the whole frame, crops or tiles, by its hole and the memory."""

__all__: list[str] = []

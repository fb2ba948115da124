"""Images and masks in memory: from every kind to three channels and a hole, and back. NumPy and Pillow only."""

__all__: list[str] = []

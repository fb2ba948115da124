"""The same numbers, faster: fused layers, Winograd convolutions, oneDNN, chunked frames, for inference and training."""

__all__: list[str] = []

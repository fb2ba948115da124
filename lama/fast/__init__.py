"""The same numbers, faster: fused layers, Winograd convolutions and chunked frames, for inference and training."""

__all__: list[str] = []

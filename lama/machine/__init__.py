"""Memory, devices, ranks and the memory allocator of this machine."""

__all__: list[str] = []

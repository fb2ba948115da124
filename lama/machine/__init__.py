"""What this machine offers: memory, devices, ranks, the allocator. Knows torch, and nothing of networks."""

__all__: list[str] = []

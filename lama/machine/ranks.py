"""The rank of this process in a distributed run."""

import torch.distributed


def rank_and_world() -> tuple[int, int]:
    """(rank, number of ranks) of this process; (0, 1) outside a distributed run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1

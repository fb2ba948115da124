"""The rank of this process in a distributed run."""

from collections.abc import Callable
from typing import TypeVar

import torch.distributed
from torch import Tensor

T = TypeVar("T")


def rank_and_world() -> tuple[int, int]:
    """(rank, number of ranks) of this process; (0, 1) outside a distributed run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def exchange_device() -> torch.device:
    """The device of tensors that the ranks can exchange."""
    return torch.device("cuda" if "nccl" in torch.distributed.get_backend() else "cpu")


def from_rank_0(make: Callable[[], T]) -> T:
    """What ``make`` returns on rank 0, for every rank: of files that only the machine of rank 0 may have."""
    rank, world = rank_and_world()
    made: list[T] = [make()] if rank == 0 else [None]  # type: ignore[list-item]
    if world > 1:
        torch.distributed.broadcast_object_list(made, 0, device=exchange_device())
    return made[0]


def same_on_all_ranks(value: object) -> bool:
    """Whether every rank calls this with an equal ``value``."""
    values: list[object] = [value] * rank_and_world()[1]
    if len(values) > 1:
        torch.distributed.all_gather_object(values, value)
    return all(one == values[0] for one in values)


def gather_rows(rows: Tensor) -> list[Tensor]:
    """The ``rows`` (N, D) of each rank, on the CPU; N may differ, and D where a rank has none (0, 0)."""
    device = exchange_device()
    shapes = [torch.zeros(2, dtype=torch.long, device=device) for _ in range(rank_and_world()[1])]
    torch.distributed.all_gather(shapes, torch.tensor(rows.shape, device=device))
    counts = [int(shape[0]) for shape in shapes]
    widest = max(int(shape[1]) for shape in shapes)
    padded = torch.zeros(max(counts), widest, dtype=rows.dtype, device=device)  # ranks exchange tensors of one shape
    padded[: rows.shape[0], : rows.shape[1]] = rows
    gathered = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(gathered, padded)
    return [every[:count].cpu() for every, count in zip(gathered, counts, strict=True)]

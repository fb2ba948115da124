"""Averages and reductions over the ranks of a training, one for each GPU.

We average gradients ourselves instead of using DistributedDataParallel (DDP). DDP expects one forward and one backward
pass over all parameters. A GAN step has two backward passes, each over one network, and calls the networks two or three
times. Without ``find_unused_parameters`` DDP raises an error; with it, each backward pass walks its graph once more and
exchanges the gradients of both networks, and the BatchNorm statistics of the ranks diverge.

Here the gradients of each network are exchanged once a step, together with its loss: all ranks see the same non-finite
values. The cost is that the exchange does not overlap with the backward pass, as it does in DDP.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, distributed, nn

from lama.machine.ranks import exchange_device, rank_and_world

BUCKET = 2**23  # numbers exchanged at once, 32 MB of copies: copying all gradients would double their memory


@torch.no_grad()
def mean_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace every tensor by its mean over the ranks, at most ``BUCKET`` numbers at once; alone, do nothing."""
    world = rank_and_world()[1]
    if world == 1:
        return
    for some in _buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in some])
        distributed.all_reduce(flat)
        flat /= world
        parts = flat.split([tensor.numel() for tensor in some])
        torch._foreach_copy_(some, [part.view(t.shape) for part, t in zip(parts, some, strict=True)])


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in order, together while they have at most ``BUCKET`` numbers; a larger one is alone."""
    some: list[Tensor] = []
    for tensor in tensors:
        if some and sum(one.numel() for one in some) + tensor.numel() > BUCKET:
            yield some
            some = []
        some.append(tensor)
    if some:
        yield some


def average_gradients(parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
    """Average the gradients over the ranks, in place; returns the mean of ``loss`` (scalar) over the ranks."""
    if rank_and_world()[1] == 1:
        return loss
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:  # other ranks may have one; all must exchange the same
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    loss = loss.detach().clone()
    mean_over_ranks([loss, *gradients])
    return loss


def statistics(network: nn.Module) -> list[Tensor]:
    """The running means and variances of a network, which each rank updates from its own images."""
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


@torch.no_grad()
def highest(*values: int) -> list[int]:
    """The maximum of each value over the ranks."""
    if rank_and_world()[1] == 1:
        return list(values)
    gathered = torch.tensor(values, device=exchange_device())
    distributed.all_reduce(gathered, distributed.ReduceOp.MAX)
    return gathered.tolist()


@torch.no_grad()
def any_of(flags: Tensor) -> Tensor:
    """``flags`` (bool tensor), or-ed over the ranks."""
    if rank_and_world()[1] == 1:
        return flags
    together = flags.to(exchange_device(), torch.uint8)
    distributed.all_reduce(together, distributed.ReduceOp.MAX)
    return together.to(flags.device, torch.bool)


def synchronise_batchnorm(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Let BatchNorm compute its statistics over the batch of all ranks. Raises ValueError on a CPU."""
    if device.type == "cpu":
        raise ValueError("recipe.sync_batchnorm: PyTorch supports it on GPUs only; set it to null")
    for network in networks:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)

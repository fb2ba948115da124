"""What the processes of a training, one for each GPU, average and agree on.

The gradients we average ourselves. DistributedDataParallel counts the gradients of one backward pass over all
parameters behind one forward pass; a step here has two backward passes, each over one of two networks, which are called
two or three times, with the discriminator frozen in the first. Without ``find_unused_parameters`` it stops in an error;
with it, every backward pass walks its graph once more and exchanges the gradients of both networks, and the BatchNorm
statistics of the processes drift apart, each validating with its own. Here the gradients of each network cross the wire
once a step, together with its loss, so that what is not finite is so on all processes. What is lost is DDP's overlap of
that exchange with the backward pass.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn

from lama.machine.ranks import rank_and_world

NETWORKS = (None, "generator", "both")  # that recipe.sync_batchnorm knows


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace every tensor by its mean over the processes, in one exchange; alone, do nothing."""
    world = rank_and_world()[1]
    if world == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= world
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)])


def average_gradients(parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
    """Average the gradients over the processes, in place, and return the mean of their losses."""
    if rank_and_world()[1] == 1:
        return loss
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:  # here; it may have one elsewhere, and the exchange needs one layout
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    loss = loss.detach().clone()
    average([loss, *gradients])
    return loss


def statistics(network: nn.Module) -> list[Tensor]:
    """The running means and variances of a network: every process moves them by its own images."""
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


@torch.no_grad()
def highest(*values: int) -> list[int]:
    """The largest of each value over the processes: what one of them knows, all do."""
    if rank_and_world()[1] == 1:
        return list(values)
    gathered = torch.tensor(values, device=_device())
    distributed.all_reduce(gathered, distributed.ReduceOp.MAX)
    return gathered.tolist()


@torch.no_grad()
def any_of(flags: Tensor) -> Tensor:
    """``flags`` (bool) that are set on any of the processes."""
    if rank_and_world()[1] == 1:
        return flags
    together = flags.to(_device(), torch.uint8)
    distributed.all_reduce(together, distributed.ReduceOp.MAX)
    return together.to(flags.device, torch.bool)


def _device() -> torch.device:
    """Where the processes can exchange something."""
    return torch.device("cuda" if "nccl" in distributed.get_backend() else "cpu")


def synchronise_batchnorm(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Let BatchNorm see the batch of all processes. Raises ValueError where the device cannot do that."""
    if device.type == "cpu":
        raise ValueError("recipe.sync_batchnorm: needs GPUs, PyTorch has it for no other device; null does without")
    for network in networks:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)

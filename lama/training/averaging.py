"""Averages and reductions over the ranks of a training, one for each GPU.

We average gradients ourselves instead of using DistributedDataParallel (DDP). DDP expects one forward and one backward
pass over all parameters. A GAN step has two backward passes, each over one network, and calls the networks two or three
times. Without ``find_unused_parameters`` DDP raises an error; with it, each backward pass walks its graph once more and
exchanges the gradients of both networks, and the BatchNorm statistics of the ranks diverge.

Here the gradients of each network are exchanged once a step, together with its loss: all ranks see the same non-finite
values. As in DDP (Li et al., "PyTorch Distributed", 2020) the gradients are grouped into buckets, and a bucket travels
while the backward pass computes the next ones. The sums of two ranks have the same bits in any buckets; with more ranks
the last bits depend on ``BUCKET``, but not on time: the same command always gives the same result.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn

from lama.machine.ranks import exchange_device, rank_and_world

BUCKET = 2**21  # numbers in a bucket, 8 MB of float32: a tenth of the gradients of lama-fourier
UNDER_WAY = 2  # buckets that travel at once, so copies of gradients never need more than 16 MB


class _Averages:
    """Means over the ranks that are being computed, at most ``UNDER_WAY`` at once; each replaces its tensors."""

    def __init__(self) -> None:
        self.world = rank_and_world()[1]
        self.travelling: deque[tuple[Any, Tensor, list[Tensor], list[Tensor]]] = deque()

    @torch.no_grad()
    def begin(self, tensors: list[Tensor]) -> None:
        """Send a copy of ``tensors``; they are replaced when a later call has to wait for them."""
        self.finish(most=UNDER_WAY - 1)
        flat = tensors[0].new_empty(sum(tensor.numel() for tensor in tensors))
        parts = flat.split([tensor.numel() for tensor in tensors])
        views = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
        torch._foreach_copy_(views, tensors)
        self.travelling.append((distributed.all_reduce(flat, async_op=True), flat, views, tensors))

    @torch.no_grad()
    def finish(self, most: int = 0) -> None:
        """Wait until at most ``most`` buckets travel."""
        while len(self.travelling) > most:
            work, flat, views, tensors = self.travelling.popleft()
            work.wait()
            flat /= self.world
            torch._foreach_copy_(tensors, views)


def mean_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace every tensor by its mean over the ranks; alone, do nothing."""
    if rank_and_world()[1] == 1:
        return
    averages = _Averages()
    for bucket in _buckets(tensors):
        averages.begin(bucket)
    averages.finish()


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


def averaged_backward(
    backward: Callable[[], None], parameters: Sequence[nn.Parameter], loss: Tensor, overlap: bool = True
) -> Tensor:
    """Call ``backward``, which adds to the gradients of ``parameters``, and average them over the ranks, in place.

    Returns the mean of ``loss`` (scalar) over the ranks. A bucket of gradients is sent as soon as it is complete;
    without ``overlap`` all are sent after the backward pass. ``backward`` may visit each parameter once.
    """
    mean = loss.detach().clone()
    if rank_and_world()[1] == 1:
        backward()
        return mean
    buckets = _GradientBuckets([parameter for parameter in parameters if parameter.requires_grad], mean)
    with buckets.filled() if overlap else nullcontext():
        backward()
    buckets.finish()
    return mean


class _GradientBuckets:
    """The gradients of ``parameters``, the last layer first, as a backward pass computes them, and a ``loss``.

    All ranks send the buckets in one order, whatever their backward passes compute first.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> None:
        self.loss = loss
        self.buckets = list(_buckets([loss, *reversed(parameters)]))
        self.missing = [{tensor for tensor in bucket if tensor is not loss} for bucket in self.buckets]
        self.place = {parameter: i for i, bucket in enumerate(self.missing) for parameter in bucket}
        self.sent = 0
        self.averages = _Averages()

    @contextmanager
    def filled(self) -> Iterator[None]:
        """In this block, send each bucket when the backward pass has computed its last gradient."""
        hooks = [parameter.register_post_accumulate_grad_hook(self._note) for parameter in self.place]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _note(self, parameter: Tensor) -> None:
        if self.place[parameter] < self.sent:
            raise RuntimeError("training step: a gradient was computed twice, after it had been sent to other ranks")
        self.missing[self.place[parameter]].discard(parameter)
        while self.sent < len(self.buckets) and not self.missing[self.sent]:
            self._send()

    def _send(self) -> None:
        bucket = self.buckets[self.sent]
        for tensor in bucket:
            if tensor is not self.loss and tensor.grad is None:  # other ranks may have one; all must exchange the same
                tensor.grad = torch.zeros_like(tensor)
        self.averages.begin([tensor if tensor.grad is None else tensor.grad for tensor in bucket])
        self.sent += 1

    def finish(self) -> None:
        """Send the rest, with zeros for gradients that this rank has not computed, and wait for all of them."""
        while self.sent < len(self.buckets):
            self._send()
        self.averages.finish()


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

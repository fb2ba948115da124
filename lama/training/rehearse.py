"""A training step on the meta device: its memory and its waits, known before there is a GPU."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from lama.losses.frozen import Frozen
from lama.machine.rehearsal import Rehearsal, bfloat16_convolutions, fused_optimizers, size_on_gpu
from lama.training.module import InpaintingModule
from lama.training.non_finite import make_states, skips_by_itself


@dataclass(frozen=True)
class StepCost:
    """Of one update on a GPU."""

    peak: int  # bytes of tensors alive at once: weights, optimisers, activations, gradients, the batch
    flops: int  # of the batches of one update, without Fourier transforms and layers between convolutions
    waits: dict[str, int]  # where the host waits for the GPU (file:line), and how often for one update


def rehearse_step(module: InpaintingModule, batch_size: int, crop: Sequence[int], bf16: bool = False) -> StepCost:
    """The cost of a step on ``batch_size`` crops of (height, width) pixels. It leaves ``module`` on the meta device.

    Its ``peak`` lacks the context of CUDA and the work space of cuDNN and cuFFT. Raises RuntimeError, with the place,
    for a tensor on the wrong device.
    """
    module.to("meta").train()
    module.generator._compiled_call_impl = None  # compiled code needs a device
    with Rehearsal() as seen, fused_optimizers(), bfloat16_convolutions() if bf16 else nullcontext():
        seen.hold(_tensors(module))
        optimizers = module.configure_optimizers()
        for optimizer in filter(skips_by_itself, optimizers):
            make_states(optimizer)
        begun = len(list(_states(optimizers)))
        batch = {"image": torch.empty(batch_size, 3, *crop, device="meta"),
                 "mask": torch.empty(batch_size, 1, *crop, device="meta")}  # fmt: skip
        seen.hold(_states(optimizers))
        for _ in range(module.accumulate):
            module.step(batch, *optimizers)  # type: ignore[arg-type]
    # Other optimisers make their states at the end of the first update; later ones begin with them.
    held = 0 if begun else sum(size_on_gpu(value) for value in _states(optimizers))
    return StepCost(seen.peak + held, seen.flops, dict(seen.reads))


def _states(optimizers: Sequence[Optimizer]) -> Iterator[Tensor]:
    states = (state for optimizer in optimizers for state in optimizer.state.values())
    return (value for state in states for value in state.values() if isinstance(value, Tensor))


def _tensors(module: InpaintingModule) -> Iterator[Tensor]:
    frozen = [part.network for part in module.objective.modules() if isinstance(part, Frozen)]
    for network in (module, *frozen):
        yield from network.parameters()
        yield from network.buffers()

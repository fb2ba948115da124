"""A training step on the meta device: its memory and its waits, known before there is a GPU."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lama.losses.frozen import Frozen
from lama.machine.rehearsal import Rehearsal, bfloat16_convolutions, size_on_gpu
from lama.training.module import InpaintingModule


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
    module.make_optimizers = {name: _plain(make) for name, make in module.make_optimizers.items()}
    with Rehearsal() as seen, bfloat16_convolutions() if bf16 else nullcontext():
        seen.hold(_tensors(module))
        generator_optimizer, discriminator_optimizer = module.configure_optimizers()
        batch = {"image": torch.empty(batch_size, 3, *crop, device="meta"),
                 "mask": torch.empty(batch_size, 1, *crop, device="meta")}  # fmt: skip
        for _ in range(module.accumulate):
            module.step_or_undo(batch, generator_optimizer, discriminator_optimizer)
    optimizers = (generator_optimizer, discriminator_optimizer)
    states = [value for optimizer in optimizers for state in optimizer.state.values() for value in state.values()]
    # Optimisers make their states at the end of the first update; later ones begin with them.
    held = sum(size_on_gpu(value) for value in states if isinstance(value, Tensor))
    return StepCost(seen.peak + held, seen.flops, dict(seen.reads))


def _tensors(module: InpaintingModule) -> Iterator[Tensor]:
    frozen = [part.network for part in module.objective.modules() if isinstance(part, Frozen)]
    for network in (module, *frozen):
        yield from network.parameters()
        yield from network.buffers()


def _plain(make: Any) -> Any:
    """An optimiser without a fused kernel, which the meta device lacks; its memory is the same."""
    return partial(make, fused=False) if getattr(make, "keywords", {}).get("fused") else make

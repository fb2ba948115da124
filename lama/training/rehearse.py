"""A training step on the meta device: its memory and its waits, known before there is a GPU."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lama.losses.frozen import Frozen
from lama.machine.rehearsal import BFloat16Convolutions, Rehearsal
from lama.training.module import InpaintingModule


@dataclass(frozen=True)
class StepCost:
    """Of one training step on a GPU."""

    peak: int  # bytes of tensors alive at once: weights, optimisers, activations, gradients, the batch
    waits: dict[str, int]  # where the host waits for the GPU (file:line), and how often for one update


def rehearse_step(
    module: InpaintingModule, batch_size: int, crop: Sequence[int], bf16: bool = False, updates: int = 2
) -> StepCost:
    """The cost of a step on ``batch_size`` crops of (height, width) pixels. It leaves ``module`` on the meta device.

    The first of the ``updates`` makes the optimisers' states; a ``peak`` with them needs two. It lacks the context of
    CUDA and the work space of cuDNN and cuFFT. Raises RuntimeError, with the place, for a tensor on the wrong device.
    """
    module.to("meta").train()
    module.make_optimizers = {name: _plain(make) for name, make in module.make_optimizers.items()}
    with Rehearsal() as seen, BFloat16Convolutions() if bf16 else nullcontext():
        seen.hold(_tensors(module))
        optimizers = module.configure_optimizers()
        batch = {"image": torch.empty(batch_size, 3, *crop, device="meta"),
                 "mask": torch.empty(batch_size, 1, *crop, device="meta")}  # fmt: skip
        for _ in range(updates):
            seen.reads.clear()
            for _ in range(module.accumulate):
                module.step_or_undo(batch, *optimizers)
    return StepCost(seen.peak, dict(seen.reads))


def _tensors(module: InpaintingModule) -> Iterator[Tensor]:
    frozen = [part.network for part in module.objective.modules() if isinstance(part, Frozen)]
    for network in (module, *frozen):
        yield from network.parameters()
        yield from network.buffers()


def _plain(make: Any) -> Any:
    """An optimiser without a fused kernel, which the meta device lacks; its memory is the same."""
    return partial(make, fused=False) if getattr(make, "keywords", {}).get("fused") else make

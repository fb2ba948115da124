"""An exponential moving average of the generator's weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float) -> "MovingAverage":
    """A copy of ``network``; ``update_parameters`` sets it to decay * average + (1 - decay) * current.

    Buffers (BatchNorm statistics) are averaged too. The decay of the n-th update is min(decay, (1 + n) / (10 + n)), as
    in TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``, and so the average soon forgets the initial
    weights. Raises ValueError for a decay outside (0, 1).
    """
    if not 0 < decay < 1:
        raise ValueError(f"recipe.ema_decay: expected a number between 0 and 1, or null, got {decay}")

    return MovingAverage(network, decay).requires_grad_(False)


class MovingAverage(AveragedModel):
    """torch's ``AveragedModel``, updated without a read: its own would wait for a GPU, in every step."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module, made: Tensor | None = None) -> None:
        """Average ``model`` in. Nothing changes where ``made`` (bool scalar) is false: there was no update."""
        averages, current = ([*each.parameters(), *each.buffers()] for each in (self.module, model))
        made = torch.ones_like(self.n_averaged, dtype=torch.bool) if made is None else made
        for dtype in {tensor.dtype for tensor in averages}:
            pairs = [(a, b) for a, b in zip(averages, current, strict=True) if a.dtype == dtype]
            if dtype.is_floating_point:
                some, others = zip(*pairs, strict=True)
                torch._foreach_lerp_(some, others, [self._weight(made, dtype)] * len(some))
                continue
            weight = self._weight(made, torch.float32)
            for average, tensor in pairs:  # counts: in float32, and rounded down
                average.copy_(average * (1 - weight) + tensor * weight)
        self.n_averaged += made

    def _weight(self, made: Tensor, dtype: torch.dtype) -> Tensor:
        """The current weights' share: 1 at first, then 1 - min(decay, (1 + n) / (10 + n)); 0 without an update."""
        n = self.n_averaged
        share = (torch.full_like(n, 9, dtype=dtype) / (10 + n)).clamp(min=1 - self.decay)
        return torch.where(n == 0, 1, share) * made

"""An exponential moving average of the generator's weights."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``network``; ``update_parameters`` sets it to decay * average + (1 - decay) * current.

    Buffers (BatchNorm statistics) are averaged too. The decay of the n-th update is min(decay, (1 + n) / (10 + n)), as
    in TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``, and so the average soon forgets the initial
    weights. Raises ValueError for a decay outside (0, 1).
    """
    if not 0 < decay < 1:
        raise ValueError(f"recipe.ema_decay: expected a number between 0 and 1, or null, got {decay}")

    return _Average(network, decay).requires_grad_(False)


class _Average(AveragedModel):
    """Keeps ``n_averaged`` on the CPU: reading it on a GPU would wait for all of its work, in every step."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, multi_avg_fn=self._update, use_buffers=True)
        self.decay = decay
        self.n_averaged = self.n_averaged.cpu()

    def _apply(self, fn: Any, recurse: bool = True) -> "_Average":
        count = self.n_averaged
        super()._apply(fn, recurse)
        self.n_averaged = count
        return self

    def _update(self, averages: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        n = int(self.n_averaged)
        get_ema_multi_avg_fn(min(self.decay, (1 + n) / (10 + n)))(averages, current, updates)

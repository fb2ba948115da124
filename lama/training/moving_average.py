"""An exponential moving average of the generator's weights."""

from collections.abc import Sequence

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

    def update(averages: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        n = int(updates)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, current, updates)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True).requires_grad_(False)

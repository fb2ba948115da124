"""Learning rates as a function of the training's progress; those in a checkpoint are ignored.

So they are right too when a run is resumed with another batch size, number of epochs or rate: the current configuration
counts, and a jump is logged.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

NAMES = ("generator", "discriminator")


class LearningRates:
    """Learning rates of both optimisers: constant, or half a cosine from the configured rate to 0 over the training."""

    def __init__(self, optimizers: Sequence[Optimizer], cosine: bool) -> None:
        self.optimizers = optimizers
        self.cosine = cosine
        self.configured = [[_settings(group) for group in one.param_groups] for one in optimizers]

    def follow(self, done: float) -> None:
        """Set the rates for the completed share ``done`` of the training, in [0, 1]."""
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, done))) if self.cosine else 1.0
        for optimizer, configured in zip(self.optimizers, self.configured, strict=True):
            for group, settings in zip(optimizer.param_groups, configured, strict=True):
                group["lr"] = settings["lr"] * factor

    def go_on(self, done: float, step: float) -> str | None:
        """Restore the configured settings after a checkpoint was loaded; returns a warning if the rates have jumped.

        ``step`` is the share of one batch in the training. In a step the cosine changes by less than pi / 2 of it.
        """
        before = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        for optimizer, configured in zip(self.optimizers, self.configured, strict=True):
            for group, settings in zip(optimizer.param_groups, configured, strict=True):
                group |= settings
        self.follow(done)
        now = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        most = [configured[0]["lr"] for configured in self.configured]
        if all(abs(a - b) <= (0.01 + 1.6 * step) * c for a, b, c in zip(before, now, most, strict=True)):
            return None
        jumps = [f"{name} {b:.3g} instead of {a:.3g}" for name, a, b in zip(NAMES, before, now, strict=True)]
        why = ": another rate or another length of the cosine" if self.cosine else ""
        return f"learning rates: {', '.join(jumps)} at the checkpoint{why}"


def check_optimizers(optimizers: Mapping[str, Callable[..., Optimizer]]) -> None:
    """Raise ValueError, naming the key, for a rate or another setting that ``torch.optim`` or this training refuses.

    ``optimizers`` make an optimiser of parameters. A wrong rate is found before the data is read.
    """
    for name, make in optimizers.items():
        try:
            (group,) = make([nn.Parameter(torch.zeros(1))]).param_groups
        except (ValueError, RuntimeError) as error:  # torch names no key
            raise ValueError(f"optimizers.{name}: {str(error).lower()}") from error
        for key, value in group.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"optimizers.{name}.{key}={value}: expected a finite number")
        if not group["lr"] > 0:
            raise ValueError(f"optimizers.{name}.lr={group['lr']}: expected more than 0")


def _settings(group: dict[str, object]) -> dict[str, float]:
    return {name: value for name, value in group.items() if name != "params"}  # type: ignore[misc]

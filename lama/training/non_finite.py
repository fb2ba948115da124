"""Steps with a loss or a gradient that is not finite change nothing, and the host does not wait to learn of them.

Whether a step is finite is known on its device first. A host that asks a GPU waits for all of its work, in every step.
So the step is conditional on the device: fused Adam leaves an update out by itself (``found_inf``), and statistics are
put back by ``torch.where``. The host reads the outcomes of several steps at once, where it waits anyway. On a CPU a
read costs nothing, so the host decides. Both ways end with the same bits.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

DEVICES = ("cuda", "cpu", "meta")  # on which fused Adam is known to take ``found_inf``


@dataclass(frozen=True)
class Vitals:
    """Loss and gradient norm of a network before its update: scalars, averaged over the ranks."""

    network: str
    loss: Tensor
    gradient_norm: Tensor | None  # None while gradients are still accumulated


@dataclass(frozen=True)
class Outcome:
    """The numbers of a step on its device, and whether all are finite (bool scalar)."""

    vitals: tuple[Vitals, ...]
    finite: Tensor

    @property
    def readable(self) -> bool:
        """Whether the host can read it without waiting for a device."""
        return readable(self.finite)

    def fault(self) -> str:
        """The networks with a number that is not finite, or "". On a GPU the host waits here."""
        return faults([self])[0]


def faults(outcomes: Sequence[Outcome]) -> list[str]:
    """``Outcome.fault`` of each. On a GPU the host waits once for all of them."""
    scalars = [one for outcome in outcomes for one in (outcome.finite, *_numbers(outcome.vitals))]
    values = iter(torch.stack([one.detach().float() for one in scalars]).tolist() if scalars else ())
    return [_fault(bool(next(values)), outcome.vitals, values) for outcome in outcomes]


def _numbers(vitals: Sequence[Vitals]) -> list[Tensor]:
    return [one for each in vitals for one in (each.loss, each.gradient_norm) if one is not None]


def _fault(finite: bool, vitals: Sequence[Vitals], values: Iterator[float]) -> str:
    read = [(each.network, next(values), 0.0 if each.gradient_norm is None else next(values)) for each in vitals]
    bad = [one for one in read if not (math.isfinite(one[1]) and math.isfinite(one[2]))]
    return "" if finite else "; ".join(f"{name}: loss {loss:.3g}, gradient norm {norm:.3g}" for name, loss, norm in bad)


class Outcomes:
    """The outcomes of the latest steps, until the host reads them."""

    def __init__(self) -> None:
        self.unread: list[tuple[int, Outcome]] = []
        self.latest = ""  # the fault of the latest step that was read
        self.report: Callable[[int, str], None] = lambda iteration, fault: None  # takes every outcome as it is read

    def read(self) -> str:
        """Report all unread outcomes in their order; returns the fault of the latest step, "" if it was finite."""
        unread, self.unread = self.unread, []
        found = faults([outcome for _, outcome in unread])
        for (iteration, _), self.latest in zip(unread, found, strict=True):
            self.report(iteration, self.latest)
        return self.latest


def readable(flag: Tensor) -> bool:
    """Whether the host can read ``flag`` without waiting for a device."""
    return flag.device.type == "cpu"


class StepGuard:
    """Keeps what a step changes, and puts it back if the step is not finite.

    This is the BatchNorm statistics of both networks, which forward passes update. In the official step, which updates
    the generator before the discriminator's losses are known, it is also the generator's weights and the state of its
    optimiser. These are copied just before the update, when activations are freed: peak memory stays the same.

    An update of several batches is made if all of them were finite; statistics are put back for each batch alone.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        self.whole: Tensor | None = None  # whether the batches of the unfinished update were finite; None before them
        self._begin()

    def _begin(self, waits: bool = True) -> None:
        self.waits = waits
        self.vitals: tuple[Vitals, ...] = ()
        self.finite = torch.tensor(True)
        self.live: list[Tensor] = []
        self.kept: list[Tensor] = []
        self.states: dict[Any, dict[str, Any]] | None = None
        self.optimizer: Any = None  # of ``states``

    def begin(self, *optimizers: Any, first: bool = True) -> None:
        """Before the ``first`` or another batch of an update: copy the BatchNorm statistics.

        With an optimiser that cannot skip a step on the device, the host waits for it.
        """
        if first:
            self.whole = None
        self._begin(waits=not all(skips_by_itself(optimizer) for optimizer in optimizers))
        self._copy([buffer for network in self.networks for buffer in network.buffers()])

    def judge(self, *vitals: Vitals) -> None:
        """Note the vitals of networks before their update. A gradient norm counts unless its update is lost already."""
        checked = [torch.isfinite(each.loss.detach()) for each in vitals]
        lost = torch.tensor(False) if self.whole is None else ~self.whole
        checked += [torch.isfinite(each.gradient_norm) | lost for each in vitals if each.gradient_norm is not None]
        finite = reduce(torch.logical_and, checked, self.finite)
        self.finite = finite.cpu() if self.waits else finite  # on a GPU the host waits here
        self.whole = self.finite if self.whole is None else self.whole & self.finite
        self.vitals += vitals

    def remember_update(self, network: nn.Module, optimizer: Any) -> None:
        """Copy the weights of ``network`` and the state of its optimiser, before it steps."""
        assert self.whole is not None
        if not readable(self.whole):
            make_states(optimizer)
        self.optimizer = optimizer
        self.states = {parameter: dict(state) for parameter, state in optimizer.state.items()}
        tensors = [v for state in self.states.values() for v in state.values() if isinstance(v, Tensor)]
        self._copy([*network.parameters(), *tensors])

    @torch.no_grad()
    def _copy(self, live: list[Tensor]) -> None:
        kept = [torch.empty_like(tensor) for tensor in live]
        if live:
            torch._foreach_copy_(kept, live)
        self.live += live
        self.kept += kept

    def update(self, optimizer: Any) -> None:
        """Let ``optimizer`` step, if all batches of its update were finite."""
        assert self.whole is not None
        if readable(self.whole):
            if self.whole:
                optimizer.step()
            return
        make_states(optimizer)
        _step_unless((~self.whole).float(), optimizer)

    @torch.no_grad()
    def put_back(self) -> Outcome:
        """Restore the copied state, bit for bit, if the step is not finite; free the copies."""
        if not readable(self.finite):
            for live, kept in zip(self.live, self.kept, strict=True):
                torch.where(self.finite, live, kept, out=live)
        elif not self.finite:
            if self.live:
                torch._foreach_copy_(self.live, self.kept)
            if self.states is not None:
                self.optimizer.state.clear()
                self.optimizer.state.update(self.states)
        outcome = Outcome(self.vitals, self.finite)
        self._begin()
        return outcome


def skips_by_itself(optimizer: Any) -> bool:
    """Whether ``optimizer`` can leave a step out on the device, so that the host need not decide."""
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        return False
    groups = optimizer.param_groups
    return all(group["fused"] and group["params"][0].device.type in DEVICES for group in groups)


def _step_unless(found_inf: Tensor, optimizer: Any) -> None:
    """Step, or leave weights, moments and counts as they are where ``found_inf`` is 1 (float32 scalar)."""
    inner = _unwrapped(optimizer)
    inner.found_inf = found_inf  # as torch.amp.GradScaler does
    try:
        optimizer.step()
    finally:
        del inner.found_inf


def make_states(optimizer: Any) -> None:
    """Give an optimiser that skips by itself its first state, all zeros, which it would make in its first step."""
    inner = _unwrapped(optimizer)
    if inner.state:
        return
    parameters = [parameter for group in inner.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    _step_unless(torch.ones((), device=parameters[0].device), inner)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def _unwrapped(optimizer: Any) -> Any:
    """torch's optimiser inside of Lightning's."""
    return getattr(optimizer, "optimizer", optimizer)

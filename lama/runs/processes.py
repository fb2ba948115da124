"""Several processes, one for each GPU: how they are started, and how they end.

Lightning starts them (``trainer.devices=4``) or finds them started by torchrun or SLURM, and gives each its device.
"""

import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import distributed

from lama.machine.ranks import rank_and_world
from lama.runs.checkpointing import Checkpoints
from lama.runs.signals import TRY_AGAIN, Stopped

logger = logging.getLogger(__name__)

LOST = r"Connection (closed|reset)|Broken pipe|remote process|NCCL|ncclRemoteError"  # a partner of an exchange
STRATEGIES = (None, "auto", "ddp")


class AveragedGradients(DDPStrategy):
    """Lightning's processes without its DistributedDataParallel; the step averages (``averaging.py`` says why)."""

    def configure_ddp(self) -> None:
        """Wrap nothing; begin with the same weights everywhere."""
        assert isinstance(self.model, LightningModule)
        with torch.no_grad():
            for tensor in (*self.model.parameters(), *self.model.buffers()):
                distributed.broadcast(tensor, 0)


@dataclass(frozen=True)
class Processes:
    """Those of this training; known before they are started."""

    number: int
    here: int  # how many of them this machine has
    first: bool  # whether this is the one that writes


def choose_processes(trainer: dict[str, Any]) -> tuple[dict[str, Any], Processes]:
    """The arguments of Lightning's Trainer with our strategy where there are several processes, and which these are.

    Raises ValueError for devices that are not there, a strategy that shards the networks, and where a launcher has
    started another number of processes than the configuration says.
    """
    if trainer.get("strategy") not in STRATEGIES:
        raise ValueError(f"trainer.strategy={trainer['strategy']}: expected auto or ddp; gradients are averaged by us")
    if trainer.get("sync_batchnorm"):
        raise ValueError("trainer.sync_batchnorm=true: would convert both networks, and R1 cannot be differentiated "
                         "through it; use recipe.sync_batchnorm=generator")  # fmt: skip
    wanted: dict[str, Any] = {key: trainer[key] for key in ("accelerator", "devices", "num_nodes") if key in trainer}
    wanted |= {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    rank = rank_zero_only.rank  # type: ignore[attr-defined]
    try:
        probe = Trainer(**wanted, enable_model_summary=False)  # chooses as the real one will
    except (MisconfigurationException, RuntimeError, TypeError) as error:  # of SLURM's settings, and of odd devices
        text = " ".join(str(error).split())
        raise ValueError(f"trainer.accelerator={wanted.get('accelerator', 'auto')} trainer.devices="
                         f"{wanted.get('devices', 'auto')}: {text}") from error  # fmt: skip
    finally:  # the probe has set it for the whole of Lightning; any later training here would write no curves
        rank_zero_only.rank = rank  # type: ignore[attr-defined]
    number = probe.num_devices * probe.num_nodes
    started = _started(probe.world_size)
    if started != number:
        raise ValueError(
            f"trainer.devices={probe.num_devices} trainer.num_nodes={probe.num_nodes}: expected {started} in all, "
            f"since torchrun or SLURM has started {started} process{'es' * (started > 1)}"
        )
    if isinstance(probe.strategy, SingleDeviceStrategy):
        return {key: value for key, value in trainer.items() if key != "strategy"}, Processes(1, 1, True)
    return trainer | {"strategy": AveragedGradients()}, Processes(number, probe.num_devices, probe.is_global_zero)


def _started(expected: int) -> int:
    """How many processes a launcher has started, else ``expected``. Lightning overlooks them where devices is 1."""
    if distributed.is_available() and distributed.is_torchelastic_launched():
        return int(os.environ["WORLD_SIZE"])
    return max(expected, int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")))  # srun sets it, sbatch does not


@contextmanager
def ended_together(trainer: Trainer, keeper: Checkpoints) -> Iterator[None]:
    """Whatever ends this process ends those that Lightning has started for it; one that is lost elsewhere is said.

    Raises ValueError where an exchange failed because another process has ended.
    """
    watch = Watch(trainer)
    if trainer.world_size > 1:
        watch.start()
    try:
        yield
    except BaseException as error:
        lost = isinstance(error, RuntimeError) and rank_and_world()[1] > 1 and re.search(LOST, str(error))
        if lost:
            watch.found.wait(2 * Watch.EVERY)
        dead = watch.dead
        watch.end(wait=30 if isinstance(error, Stopped) else 0)
        if dead is not None and dead.killed:
            raise keeper.interrupted(f"training: {dead}") from error
        if lost:
            raise ValueError("training: another of its processes has ended; it says why above, unless it was killed; "
                             "the same command goes on from the last checkpoint") from error  # fmt: skip
        raise
    finally:
        watch.over.set()


@dataclass(frozen=True)
class Dead:
    """A process that has ended before the others."""

    rank: int
    code: int  # as Popen has it: negative for a signal

    @property
    def killed(self) -> bool:
        return self.code < 0

    def __str__(self) -> str:
        how = f"was killed by {signal.Signals(-self.code).name}" if self.killed else f"has ended with {self.code}"
        return f"process {self.rank} {how}"


class Watch(threading.Thread):
    """Looks after the processes that Lightning has started: where one dies, all end, with a line that says it.

    Lightning would kill everything, this process included, without a word.
    """

    EVERY = 0.5  # seconds
    PATIENCE = 10  # seconds in which this process may notice by itself

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(daemon=True)
        self.launcher: Any = trainer.strategy.launcher
        self.dead: Dead | None = None
        self.found, self.over = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self.over.wait(self.EVERY):
            codes = {rank: child.poll() for rank, child in enumerate(self._children(), start=1)}
            self.dead = next((Dead(rank, code) for rank, code in codes.items() if code), None)
            if self.dead is not None:
                self.found.set()
                self.end(wait=0)
                if not self.over.wait(self.PATIENCE):  # waits for an exchange that never comes
                    logger.error("error: training: %s; the same command goes on from the last checkpoint", self.dead)
                    os._exit(TRY_AGAIN if self.dead.killed else 2)
                return

    def end(self, wait: float) -> None:
        """Give the others so many seconds to end by themselves; one that waits for an exchange never would."""
        mine, self._children()[:] = list(self._children()), []  # Lightning watches the list too
        for child in mine:
            try:
                child.wait(wait)
            except subprocess.TimeoutExpired:
                child.kill()

    def _children(self) -> list[subprocess.Popen[bytes]]:
        return getattr(self.launcher, "procs", [])

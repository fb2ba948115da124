"""The processes of a training: one rank for each GPU, and the workers of the data loaders; how they start and end.

Lightning starts the ranks (``trainer.devices=4``) or finds them started by torchrun or SLURM, and gives each a device.
"""

import logging
import multiprocessing
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import distributed

from lama.data.datamodule import InpaintingDataModule
from lama.files import causes
from lama.machine.crowded import crowded
from lama.runs.checkpointing import Checkpoints
from lama.runs.config_changes import short
from lama.runs.heartbeat import Heartbeat, Note
from lama.runs.precision import choose_precision
from lama.runs.signals import TRY_AGAIN, Stopped

logger = logging.getLogger(__name__)

# Messages of torch: a collective operation without its partner, and a worker that the system has killed.
LOST_RANK = r"[Cc]onnection (closed|reset|refused)|Broken pipe|remote process|NCCL|ncclRemoteError|[Tt]imed out"
DEAD_WORKER = r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (exited unexpectedly|is killed by signal: \w+)"
STRATEGIES = (None, "auto", "ddp")


class AveragedGradients(DDPStrategy):
    """Lightning's DDP strategy without DistributedDataParallel: the step averages gradients (see ``averaging.py``)."""

    PATIENCE = timedelta(minutes=10)  # for ranks that start later, and for each exchange; PyTorch's own with NCCL

    def __init__(self) -> None:
        super().__init__(timeout=self.PATIENCE)

    def configure_ddp(self) -> None:
        """Wrap nothing; give all ranks the weights of rank 0."""
        assert isinstance(self.model, LightningModule)
        with torch.no_grad():
            for tensor in (*self.model.parameters(), *self.model.buffers()):
                distributed.broadcast(tensor, 0)


@dataclass(frozen=True)
class Processes:
    """The number of training processes; known before launch."""

    number: int  # on all machines
    here: int  # on this machine
    first: bool  # whether this is rank 0, which writes the files


def choose_processes(trainer: dict[str, Any]) -> tuple[dict[str, Any], Processes]:
    """``trainer``, arguments of Lightning's Trainer, with the precision of the device and our strategy; the processes.

    The strategy is added only for several processes.

    Raises ValueError for missing devices, a strategy that shards the networks, and a launcher that has started more or
    fewer processes than the configuration asks for.
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
        probe = Trainer(**wanted, enable_model_summary=False)  # chooses devices as the training will
    except (MisconfigurationException, RuntimeError, TypeError) as error:  # about devices, or SLURM's settings
        text = " ".join(str(error).split())
        raise ValueError(f"trainer.accelerator={wanted.get('accelerator', 'auto')} trainer.devices="
                         f"{wanted.get('devices', 'auto')}: {text}{_without_gpu(wanted)}") from error  # fmt: skip
    finally:  # a Trainer sets it for all of Lightning; on the wrong rank, a later training here would write no curves
        rank_zero_only.rank = rank  # type: ignore[attr-defined]
    trainer = trainer | {"precision": choose_precision(trainer.get("precision"), probe.strategy.root_device)}
    if probe.strategy.root_device.type == "cpu" and (line := crowded(torch.get_num_threads())):
        logger.warning("%s", line)
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


def _without_gpu(wanted: dict[str, Any]) -> str:
    """Advice where a GPU is asked for and this machine has none."""
    if wanted.get("accelerator") not in ("gpu", "cuda") or torch.cuda.is_available():
        return ""
    return "; to train here leave out hardware= and trainer.accelerator=; dry_run=true works without a GPU"


def _started(expected: int) -> int:
    """The number of processes that a launcher has started, else ``expected``; Lightning ignores it for devices=1."""
    if distributed.is_available() and distributed.is_torchelastic_launched():
        return int(os.environ["WORLD_SIZE"])
    return max(expected, int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")))  # srun sets it, sbatch does not


@contextmanager
def ended_together(trainer: Trainer, checkpoints: Checkpoints) -> "Iterator[RankWatcher]":
    """End the ranks that Lightning has started when this one ends, and explain errors that a lost rank has caused.

    Raises ValueError where another rank was killed or a collective operation failed because another rank has ended.
    """
    watcher = RankWatcher(trainer)
    if trainer.world_size > 1:
        watcher.start()
    try:
        yield watcher
    except BaseException as error:
        rank_lost = isinstance(error, RuntimeError) and trainer.world_size > 1 and re.search(LOST_RANK, str(error))
        if rank_lost:  # the watcher may learn in a moment which one it was
            watcher.found.wait(2 * RankWatcher.EVERY)
        dead = watcher.dead
        watcher.end_others(patience=30 if isinstance(error, Stopped) else 0)
        if dead is not None and dead.killed:
            raise checkpoints.interrupted(f"training: {dead}") from error
        if rank_lost:
            explained = watcher.lost(str(error), checkpoints)
            watcher.verdict.acquire()  # never, if the thread has said its line and is about to end this process
            raise explained from error
        watcher.tell_why(error)
        raise
    finally:
        watcher.end()


@dataclass(frozen=True)
class DeadRank:
    """A rank that has ended with an error before the others."""

    rank: int
    code: int  # as in subprocess.Popen: negative for a signal

    @property
    def killed(self) -> bool:
        return self.code < 0

    def __str__(self) -> str:
        how = f"was killed by {signal.Signals(-self.code).name}" if self.killed else f"has ended with {self.code}"
        return f"rank {self.rank} {how}"


class RankWatcher(threading.Thread):
    """Polls the ranks that Lightning has started on this machine; if one dies, ends all of them with an error message.

    Lightning itself would kill all processes, rank 0 included, without a message. So this takes its list of them over.
    """

    EVERY = 0.5  # seconds between two polls
    PATIENCE = 10  # seconds for the main thread to fail by itself, before the process is ended

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(daemon=True)
        self.launcher: Any = trainer.strategy.launcher
        self.world = trainer.world_size
        self.dead: DeadRank | None = None  # the first that has died
        self.found = threading.Event()  # ``dead`` is set
        self.stop = threading.Event()  # the training has ended
        self.heartbeat: Heartbeat | None = None  # of ranks on several machines
        self.verdict = threading.Lock()  # of the thread that says why the training ends, for ever

    def listen(self, heartbeat: Heartbeat | None) -> None:
        """Watch the ranks on other machines too."""
        if heartbeat is not None:
            heartbeat.start()
            self.heartbeat = heartbeat

    def end(self) -> None:
        self.stop.set()
        if self.heartbeat is not None:
            self.heartbeat.end()

    def run(self) -> None:
        while not self.stop.wait(self.EVERY):
            codes = {rank: child.poll() for rank, child in enumerate(self._others(), start=1)}
            self.dead = next((DeadRank(rank, code) for rank, code in codes.items() if code), None)
            if self.dead is not None:
                self._end_training(self.dead)
                return
            if self.heartbeat is not None and (gone := self.heartbeat.gone(self.EVERY)) is not None:
                if not self.verdict.acquire(blocking=False):
                    return
                logger.error("error: training: %s; the same command continues from the last checkpoint", gone)
                self.heartbeat.leave_note(Note(gone, TRY_AGAIN))
                self.heartbeat.linger()
                os._exit(TRY_AGAIN)  # the main thread waits for a machine that has gone

    def tell_why(self, error: BaseException) -> None:
        """Leave the reason of this rank's end to the others, whose collective operations are about to fail."""
        if self.heartbeat is not None and not isinstance(error, SystemExit | KeyboardInterrupt):
            me = self.heartbeat.ranks[self.heartbeat.rank]
            line = (str(error).splitlines() or [""])[0]
            self.heartbeat.leave_note(
                Note(f"{me} has ended: {line or type(error).__name__}", getattr(error, "exit_code", 2))
            )

    def lost(self, error: str, checkpoints: Checkpoints) -> ValueError:
        """Explain the ``error`` of a collective operation: by another rank's note, or the lack of one."""
        again = "the same command continues from the last checkpoint"
        reason = short(" ".join(error.split()), 200)
        if self.heartbeat is None:
            if not distributed.is_initialized():
                start = f"not all of the {self.world} processes have started within {AveragedGradients.PATIENCE}"
                return ValueError(f"training: {start} ({reason}); look at the other machines")
            return ValueError(f"training: another rank has ended ({reason}); its error is above, unless it was killed; "
                              f"{again}")  # fmt: skip
        machines = [rank.partition(" on ")[2] for rank in self.heartbeat.ranks]  # "host1 (10.0.0.2)"
        try:
            note = self.heartbeat.find_note()
        except OSError:  # the board has ended with the first machine, or its network
            self.stop.wait(Heartbeat.EVERY * 2)  # ``run`` may be about to notice the latter
            return checkpoints.interrupted(f"training: {machines[0]} has ended")
        if note is None:  # of a rank that was killed; those that end because of it may find this one
            lost = next((name for name in machines if f"[{name.rpartition('(')[2][:-1]}]" in error), None)
            failed = Note(f"an exchange between the ranks has failed ({reason})", 2)
            note = failed if lost is None else Note(f"a process on {lost} was killed", TRY_AGAIN)
            self.heartbeat.leave_note(note)
        if note.code == TRY_AGAIN:
            return checkpoints.interrupted(f"training: {note.line}")
        return ValueError(f"training: {note.line}; {again}")

    def _end_training(self, dead: DeadRank) -> None:
        """Kill the other ranks. End this process too if its main thread hangs in a collective operation."""
        self.found.set()
        self.end_others(patience=0)
        if not self.stop.wait(self.PATIENCE):
            logger.error("error: training: %s; the same command continues from the last checkpoint", dead)
            os._exit(TRY_AGAIN if dead.killed else 2)  # an exception here would not reach the main thread

    def end_others(self, patience: float) -> None:
        """Wait ``patience`` seconds for each of the other ranks, then kill it."""
        others, self._others()[:] = list(self._others()), []  # or Lightning would kill this process for them
        for child in others:
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                child.kill()

    def _others(self) -> list[subprocess.Popen[bytes]]:
        return getattr(self.launcher, "procs", [])


@contextmanager
def dead_workers_explained(
    data: InpaintingDataModule, module: LightningModule, checkpoints: Checkpoints
) -> Iterator[None]:
    """Turn PyTorch's error about dead workers of a data loader into one line that names their latest images.

    PyTorch raises it from a signal handler, so it may interrupt anything, and be the cause of another error. A worker
    that is killed while it hands over a batch breaks a connection before that.
    """
    try:
        yield
    except Exception as error:
        latest = data.train_set.at_work.tolist()
        dead, end = _dead_workers(error, [pid for pid, _ in latest if pid])
        if not dead:
            raise
        names = [data.train_set.name(image - 1) for pid, image in latest if pid in dead]
        raise checkpoints.interrupted(
            f"data: a worker {end} after iteration {int(module.iteration)}, its latest image was "  # type: ignore[arg-type]
            f"{', '.join(names) or 'none'}; often memory was short (data.num_workers=1 data.cache_gb=0 need less)"
        ) from error


def _dead_workers(error: Exception, workers: Sequence[int]) -> tuple[set[int], str]:
    """The processes of ``workers`` whose death has caused ``error``, and their end in words; none for another cause."""
    killed = next(filter(None, (re.search(DEAD_WORKER, str(reason)) for reason in causes(error))), None)
    if killed is not None:
        return {int(pid) for pid in killed[1].split(",")}, killed[2]
    if not any(isinstance(reason, ConnectionError | EOFError) for reason in causes(error)):
        return set(), ""
    alive = {child.pid for child in multiprocessing.active_children()}
    return set(workers) - alive, "was killed"

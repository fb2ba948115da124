"""Checkpoints: the whole state of a training. Neither a kill nor a full disk can damage them.

A checkpoint is written to a temporary file, synced and renamed; its predecessor is kept as ``previous.ckpt``. torch
stores a checksum of each tensor in it, which ``python -m zipfile -t last.ckpt`` verifies.
"""

import hashlib
import io
import logging
import math
import os
import shutil
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning import callbacks as lightning
from pytorch_lightning.plugins import CheckpointIO

from lama.files import atomic_write, survives_a_full_disk, synced
from lama.machine.ranks import exchange_device, rank_and_world
from lama.runs.progress import Progress, progress_of
from lama.runs.signals import StopRequest, TryAgainError
from lama.training.averaging import highest

logger = logging.getLogger(__name__)

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
RENAMED = {"pictures": "images", "Faults": "NonFiniteGuard", "BrokenPictures": "BrokenImages"}  # since earlier versions


class Checkpoints(lightning.Checkpoint):
    """Write ``checkpoints/last.ckpt``, keep its predecessor and the best ones, and stop the training on a signal.

    A checkpoint is written after every epoch and every validation, every ``every_batches`` batches and every
    ``every_minutes`` minutes, but not after a skipped batch: ``NonFiniteGuard`` may have to return to a good one. With
    several GPUs, signals and minutes count at logged batches only.
    """

    def __init__(
        self,
        run_dir: Path,
        monitor: str,  # a validation metric
        mode: str,  # "max" or "min": which value of it is the best
        every_batches: int | None = None,  # None = only at the end of an epoch
        every_minutes: float | None = 10,  # None = only at the end of an epoch
        keep_best: int = 1,  # checkpoints of the best iterations by ``monitor`` to keep
    ) -> None:
        if every_batches is not None and every_batches < 1:
            raise ValueError(f"checkpoint.every_batches: expected at least 1, or null, got {every_batches}")
        if every_minutes is not None and every_minutes <= 0:
            raise ValueError(f"checkpoint.every_minutes: expected more than 0, or null, got {every_minutes}")
        if keep_best < 0:
            raise ValueError(f"checkpoint.keep_best: expected 0 or more, got {keep_best}")
        self.folder = run_dir / "checkpoints"
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.every_batches = every_batches
        self.every_minutes = every_minutes
        self.keep_best = keep_best
        self.best: list[tuple[float, int]] = []  # (sign * value, iteration), the best first
        self.stop = StopRequest()
        self.files = CheckpointFiles()
        self.resumed: tuple[Path, int] | None = None  # the checkpoint, and its iteration
        self.seconds = 0.0  # of training, over all starts of the run
        self.on_disk: int | None = None  # the iteration of the latest checkpoint of this command
        self.started = self.written = time.monotonic()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.started = self.written = time.monotonic()
        self.stop.install()
        iteration = int(module.iteration)  # type: ignore[arg-type]
        expected = 0 if self.resumed is None else self.resumed[1]
        other, most, least = highest(abs(iteration - expected), iteration, -iteration)
        if other or most != -least:
            raise ValueError(f"{self.folder}: changed during the start, or not the same for all ranks; run it again")
        if trainer.is_global_zero and self.resumed is not None and self.resumed[0] == self.folder / LAST:
            self._keep_best(iteration)  # in case the process was killed just before

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        batches = self.every_batches is not None and int(module.iteration) % self.every_batches == 0  # type: ignore[arg-type]
        if not batches and ranks_wait() and int(module.iteration) % trainer.log_every_n_steps:  # type: ignore[arg-type, attr-defined]
            return  # asking the other ranks would wait for the GPU, in every batch
        minutes = self.every_minutes is not None and time.monotonic() - self.written >= 60 * self.every_minutes
        self._at_boundary(trainer, module, due=batches or minutes)

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.sanity_checking:  # before models/ exists, which marks a run
            self._at_boundary(trainer, module, due=not (self.folder / LAST).exists())

    def on_validation_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if not trainer.sanity_checking and trainer.world_size == 1:  # else the ranks have different numbers of batches
            self._at_boundary(trainer, module, due=False)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if self.keep_best and trainer.is_global_zero:
            value = self.sign * float(trainer.callback_metrics[self.monitor])
            candidates = [*self.best, (value, int(module.iteration))]  # type: ignore[arg-type]
            usable = [candidate for candidate in candidates if math.isfinite(candidate[0])]
            self.best = sorted(usable, key=lambda one: (-one[0], one[1]))[: self.keep_best]
        self._at_boundary(trainer, module, due=True, validated=True)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._at_boundary(trainer, module, due=True, validated=True)

    def _at_boundary(self, trainer: Trainer, module: LightningModule, due: bool, validated: bool = False) -> None:
        """Between two batches, write a checkpoint if one is ``due`` or a signal has come; then stop on a signal."""
        due = due and not module.outcomes.read()  # type: ignore[operator, union-attr]
        write, stop = highest(int(due), self.stop.signal or 0)
        if not write and not stop:
            return
        module.outcomes.read()  # type: ignore[operator, union-attr]  # for the counts of ``NonFiniteGuard``
        iteration = int(module.iteration)  # type: ignore[arg-type]
        progress = progress_of(trainer, trainer.datamodule, iteration, validated)  # type: ignore[attr-defined]
        if progress is None:
            return
        self.progress = progress
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.written = time.monotonic()
        if not trainer.is_global_zero or self.files.written:  # other ranks do not know, and rely on rank 0
            self.on_disk = iteration
        if trainer.is_global_zero and self.files.written:
            self._keep_best(iteration)
        elif trainer.is_global_zero and iteration in (number for _, number in self.best):
            logger.error("checkpoints/iteration_%07d.ckpt, one of the best so far: not written either", iteration)
        if stop and progress.epoch < int(trainer.max_epochs or 0):  # else the training ends anyway
            raise self.stop.stopped(stop, iteration, trainer.is_global_zero)

    def interrupted(self, what: str) -> ValueError:
        """The error for an interruption from outside; a TryAgainError only if this command has written a checkpoint."""
        kind = ValueError if self.on_disk is None else TryAgainError
        return kind(f"{what}; the same command continues from the last checkpoint")

    @survives_a_full_disk("the states of the best iterations")
    def _keep_best(self, newest: int) -> None:
        """Keep the checkpoints of the best iterations only; ``last.ckpt`` is of iteration ``newest``."""
        wanted = {self.folder / f"iteration_{iteration:07d}.ckpt": iteration for _, iteration in self.best}
        for path in set(self.folder.glob("iteration_*.ckpt")) - wanted.keys():
            path.unlink()
        for path, iteration in wanted.items():
            if iteration == newest and not path.exists():
                _link(self.folder / LAST, path)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = asdict(self.progress)
        del checkpoint["loops"]  # ``progress`` replaces Lightning's counters

    def state_dict(self) -> dict[str, Any]:
        seconds = self.seconds + time.monotonic() - self.started
        return {"best": self.best, "monitor": self.monitor, "seconds": seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds = state_dict["seconds"]
        if state_dict["monitor"] == self.monitor:
            self.best = state_dict["best"][: self.keep_best]


class CheckpointFiles(CheckpointIO):
    """Lightning's access to checkpoint files: atomic, synced, keeping the predecessor. A full disk logs an error."""

    def __init__(self) -> None:
        self.written = False  # whether the latest call has written its checkpoint
        self.opened: dict[Path, dict[str, Any]] = {}  # content that was read before, by file; given out once

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        if self.written and not path.exists() and not (path.parent.parent / ".lock").exists():
            raise ValueError(f"run_dir={path.parent.parent}: was moved or removed while it trained; to go on from its "
                             "last checkpoint, train again with run_dir= its new place")  # fmt: skip
        self.written = False
        self._write(checkpoint, path)

    @survives_a_full_disk("checkpoints/last.ckpt")
    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        write_checkpoint(checkpoint, path)
        self.written = True

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The content of ``path``: once from ``opened``, else from the file."""
        content = self.opened.pop(Path(path), None)
        if content is not None:
            return content
        return _as_now(torch.load(path, map_location="cpu", weights_only=True))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write ``content`` to ``path``; an existing file becomes ``previous.ckpt``."""
    with atomic_write(path) as partial:
        with partial.open("wb") as file:
            torch.save(content, file)
        synced(partial)
        if path.exists():
            path.replace(path.with_name(PREVIOUS))
    synced(path.parent)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint. Raises ValueError, without the path, if it is damaged or none of ours.

    The file is read once, since that takes long on a shared disk.
    """
    try:
        stored = io.BytesIO(path.read_bytes())
        with zipfile.ZipFile(stored) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise ValueError(f"damaged, {error}") from error
    if damaged is not None:
        raise ValueError(f"damaged, wrong checksum of {damaged}")
    stored.seek(0)
    try:
        content = torch.load(stored, map_location="cpu", weights_only=True)
    except Exception as error:  # of many types
        raise ValueError(f"not a checkpoint, {type(error).__name__}") from error
    if not isinstance(content, dict) or not {"state_dict", "optimizer_states", "progress"} <= content.keys():
        raise ValueError("not the state of a training")
    return _as_now(content)


def identity(content: dict[str, Any] | None) -> str:
    """Tells one checkpoint from another by its iteration and a weight, which every step changes; "" without one."""
    if not content:
        return ""
    weight = next(tensor for name, tensor in content["state_dict"].items() if name.startswith("generator."))
    digest = hashlib.sha256(weight.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    return f"{content['progress']['iteration']} {digest}"


def _is_whole(path: Path) -> bool:
    try:
        return bool(read_checkpoint(path))
    except ValueError:
        return False


def _as_now(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """``checkpoint`` with the names of earlier versions replaced by the names of this one."""
    for old, new in RENAMED.items():
        for part in ("progress", "callbacks"):
            if old in checkpoint.get(part, {}):
                checkpoint[part][new] = checkpoint[part].pop(old)
    return checkpoint


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any], list[str]] | None:
    """Path and content of ``last.ckpt``, or of ``previous.ckpt`` if that is damaged, and warnings; None without both.

    Raises ValueError if all checkpoints are damaged.
    """
    problems = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        try:
            content = read_checkpoint(path)
        except ValueError as error:
            problems.append(f"{path}: {error}")
            continue
        if problems:
            iteration = Progress(**content["progress"]).iteration
            problems.append(f"using its predecessor {path}, iteration {iteration}")
        return path, content, problems
    if problems:
        kept = next((path for path in sorted(folder.glob("iteration_*.ckpt"), reverse=True) if _is_whole(path)), None)
        best = "" if kept is None else f"continue from an earlier iteration with resume={kept}, "
        raise ValueError(f"{'; '.join(problems)}; {best}start anew with overwrite=true, or use init_from=WEIGHTS")
    return None


def ranks_wait() -> bool:
    """Whether an exchange of numbers between the ranks waits for a GPU: over NCCL it goes through it."""
    return rank_and_world()[1] > 1 and exchange_device().type != "cpu"


def _link(file: Path, name: Path) -> None:
    """Make ``name`` a hard link to ``file``, or a copy if the file system has none."""
    try:
        os.link(file, name)
    except OSError:
        with atomic_write(name) as partial:
            shutil.copyfile(file, partial)

"""How far a training is, in a few numbers, and how Lightning is told to go on from there.

Lightning writes the counters of its loops into a checkpoint and then guesses from them where it was; between the last
batch of an epoch and its validation it guesses wrong. We write down where we were, and set the counters from that.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pytorch_lightning import Trainer

from lama.data.datamodule import InpaintingDataModule


@dataclass(frozen=True)
class Progress:
    """What lies behind a training, and what of its setting its order depends on."""

    iteration: int  # batches in all
    optimizer_steps: int  # Lightning's ``global_step``
    epoch: int  # whole epochs, validation included
    batch: int  # batches of the epoch that has begun, on each process
    validation: Literal["none", "due", "done"]  # after that batch
    batches: int  # in an epoch, on each process
    batch_size: int  # on each process
    processes: int
    images: int  # in the training set

    def begin_epoch_again(self, batches: int) -> "Progress":
        """At the beginning of the epoch that was interrupted, now of so many; what it has taught so far is kept."""
        return Progress(**asdict(self) | {"batch": 0, "batches": batches, "validation": "none"})

    def differences(self, trainer: Trainer, data: InpaintingDataModule) -> list[str]:
        """What the order of samples depends on and is otherwise now, as "batch size 4 instead of 8"."""
        now = _setting(trainer, data)
        names = {"batch_size": "batch size", "processes": "processes:", "images": "images to train on:"}
        return [
            f"{name} {now[key]} instead of {getattr(self, key)}"
            for key, name in names.items()
            if now[key] != getattr(self, key)
        ]


def progress_of(trainer: Trainer, data: InpaintingDataModule, iteration: int, validated: bool) -> Progress | None:
    """Where ``trainer`` is after a batch, or in or after (``validated``) the validation that follows it.

    None where the epoch ends right after: it shall end first.
    """
    epoch: Any = trainer.fit_loop.epoch_progress.current
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    between = epoch.started == epoch.processed  # two epochs
    batch = 0 if between else batches.current.processed
    due = not between and not validated and _validation_follows(trainer)
    if batches.is_last_batch and not between and not due:
        return None
    return Progress(
        iteration=iteration,
        optimizer_steps=trainer.global_step,
        epoch=epoch.processed,
        batch=batch,
        validation="due" if due else "done" if validated and not between else "none",
        batches=int(trainer.num_training_batches),
        **_setting(trainer, data),
    )


def go_on_from(progress: Progress, trainer: Trainer, data: InpaintingDataModule) -> None:
    """Set the counters of ``trainer``, which has not begun yet, and the order of samples.

    This has to happen before ``fit``: loaders with workers fetch ahead as soon as they are made.
    """
    data.sampler.start_at(progress.epoch, progress.batch * progress.batch_size)
    state = trainer.fit_loop.state_dict()
    begun = progress.epoch + (progress.batch > 0)
    _count(state["epoch_progress"], ready=begun, processed=progress.epoch)
    batches = state["epoch_loop.batch_progress"]
    _count(batches, ready=progress.iteration, processed=progress.iteration)
    _count({"current": batches["current"]}, ready=progress.batch, processed=progress.batch)
    batches["is_last_batch"] = progress.batch == progress.batches
    if progress.validation == "due":  # to Lightning, one whose first image was interrupted: it begins again
        _count(state["epoch_loop.val_loop.batch_progress"], ready=1, processed=0)
    _count(state["epoch_loop.manual_optimization.optim_step_progress"],
           ready=progress.optimizer_steps, processed=progress.optimizer_steps)  # fmt: skip
    # Lightning counts a batch as stepped after the validation that follows it.
    stepped = progress.iteration - (progress.validation != "none")
    state["epoch_loop.state_dict"]["_batches_that_stepped"] = stepped
    trainer.fit_loop.load_state_dict(state)


def _count(progress: dict[str, Any], ready: int, processed: int) -> None:
    """Set the trackers of one of Lightning's counters: so many begun, so many done."""
    for name in progress.keys() & {"total", "current"}:
        for key in progress[name]:
            progress[name][key] = ready if key in ("ready", "started") else processed


def _setting(trainer: Trainer, data: InpaintingDataModule) -> dict[str, int]:
    return {"batch_size": data.batch_size, "processes": trainer.world_size, "images": data.sampler.length}


def _validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning validates after the batch it has just finished."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)

"""How far a training is, in a few numbers, and how to make Lightning continue from there.

Lightning stores the counters of its loops in a checkpoint and guesses from them where it was; between the last batch of
an epoch and its validation it guesses wrong. So we store our own ``Progress``, and set Lightning's counters from it:

    Lightning: trainer.fit_loop.state_dict()                    Progress
    epoch_progress                                              epoch, and one more begun if batch > 0
    epoch_loop.batch_progress, total                            iteration
    epoch_loop.batch_progress, current                          batch
    epoch_loop.batch_progress, is_last_batch                    batch == batches
    epoch_loop.val_loop.batch_progress                          validation == "due": one begun, none done
    epoch_loop.manual_optimization.optim_step_progress          optimizer_steps
    epoch_loop.state_dict, _batches_that_stepped                iteration, without a batch that is validated after
"""

from dataclasses import dataclass
from typing import Any, Literal

from pytorch_lightning import Trainer

from lama.data.datamodule import InpaintingDataModule


@dataclass(frozen=True)
class Progress:
    """The place that a training has reached, and the settings on which its order of samples depends."""

    iteration: int  # batches in all
    optimizer_steps: int  # Lightning's ``global_step``, which counts both optimisers
    epoch: int  # epochs completed, validation included
    batch: int  # batches completed of the epoch that has begun, on each rank
    validation: Literal["none", "due", "done"]  # after that batch
    batches: int  # in an epoch, on each rank
    batch_size: int  # on each rank
    processes: int  # ranks
    images: int  # in the training set
    files: str = ""  # their fingerprint
    precision: str = ""  # of the trainer; "" in older checkpoints

    def differences(self, trainer: Trainer, data: InpaintingDataModule) -> list[str]:
        """The settings that have changed since, and with them the order of samples, as "batch size 4 instead of 8"."""
        now = _settings(trainer, data)
        names = {"batch_size": "batch size", "processes": "processes:", "images": "images to train on:"}
        changes = [
            f"{name} {now[key]} instead of {getattr(self, key)}"
            for key, name in names.items()
            if now[key] != getattr(self, key)
        ]
        if self.files and self.files != now["files"] and self.images == now["images"]:
            changes.append("images of other names or sizes")
        return changes


def progress_of(trainer: Trainer, data: InpaintingDataModule, iteration: int, validated: bool) -> Progress | None:
    """The place of ``trainer`` after a batch, or during or after (``validated``) the validation of that batch.

    Returns None after the last batch of an epoch without a validation: the epoch is about to end.
    """
    epoch: Any = trainer.fit_loop.epoch_progress.current
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    between_epochs = epoch.started == epoch.processed
    due = not between_epochs and not validated and _validation_follows(trainer)
    if batches.is_last_batch and not between_epochs and not due:
        return None
    return Progress(
        iteration=iteration,
        optimizer_steps=trainer.global_step,
        epoch=epoch.processed,
        batch=0 if between_epochs else batches.current.processed,
        validation="due" if due else "done" if validated and not between_epochs else "none",
        batches=int(trainer.num_training_batches),
        **_settings(trainer, data),
    )


def go_on_from(progress: Progress, trainer: Trainer, data: InpaintingDataModule) -> None:
    """Set the counters of ``trainer`` and the order of samples; call it before ``fit``, when data loaders prefetch."""
    data.sampler.start_at(progress.epoch, progress.batch * progress.batch_size)
    state = trainer.fit_loop.state_dict()
    begun = progress.epoch + (progress.batch > 0)
    epoch, batch, validation, steps = (
        "epoch_progress", "epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress",
        "epoch_loop.manual_optimization.optim_step_progress",
    )  # fmt: skip
    counters = [  # state, trackers, begun, done
        (epoch, ("total", "current"), begun, progress.epoch),
        (batch, ("total",), progress.iteration, progress.iteration),
        (batch, ("current",), progress.batch, progress.batch),
        (steps, ("total", "current"), progress.optimizer_steps, progress.optimizer_steps),
    ]
    if progress.validation == "due":  # Lightning restarts a validation that was interrupted in its first image
        counters.append((validation, ("total", "current"), 1, 0))
    for name, trackers, started, done in counters:
        for tracker in trackers:
            values = state[name][tracker]
            values.update({key: started if key in ("ready", "started") else done for key in values})
    state[batch]["is_last_batch"] = progress.batch == progress.batches
    # Lightning counts a batch as stepped only after the validation that follows it.
    state["epoch_loop.state_dict"]["_batches_that_stepped"] = progress.iteration - (progress.validation != "none")
    trainer.fit_loop.load_state_dict(state)


def _settings(trainer: Trainer, data: InpaintingDataModule) -> dict[str, Any]:
    return {"batch_size": data.batch_size, "processes": trainer.world_size, "images": data.sampler.length,
            "files": data.fingerprint, "precision": trainer.precision}  # fmt: skip


def _validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning validates after the batch that it has just finished."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)

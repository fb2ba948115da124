"""Find the run that a command continues: with ``resume=auto``, the one that the same command began before."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Trainer

from lama.data.datamodule import InpaintingDataModule
from lama.files import check_writable
from lama.runs.checkpointing import LAST, PREVIOUS, Checkpoints, newest_checkpoint, read_checkpoint
from lama.runs.config_changes import Request, compare, joined, short
from lama.runs.progress import Progress, go_on_from

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resumption:
    """A run that goes on: its checkpoint, and the place that it has reached."""

    path: Path
    progress: Progress
    notes: list[str] = field(default_factory=list)  # warnings, for the log
    moved: list[str] = field(default_factory=list)  # places of the data that differ from the command of the run
    content: dict[str, Any] = field(default_factory=dict, repr=False)  # of the checkpoint, so that it is read once

    def finished(self, epochs: Any) -> bool:
        """Whether the training of ``epochs`` epochs is over and has written its results."""
        written = (self.path.parent.parent / "summary.json").is_file()
        return isinstance(epochs, int) and self.progress.epoch >= epochs and written

    def all_done(self) -> str:
        """The message for a finished training."""
        done, run_dir = self.progress.epoch, self.path.parent.parent
        return f"{run_dir}: has trained all of its {done} epochs; train on with trainer.max_epochs={2 * done}, say"

    def check_data(self, data: InpaintingDataModule) -> None:
        """Raise ValueError if the data have ``moved`` and are not the files that the run was begun with."""
        if self.moved and self.progress.files != data.fingerprint:
            run_dir = self.path.parent.parent
            raise ValueError(f"run_dir={run_dir}: the run there was begun with {joined(self.moved)}, whose files have "
                             f"other names or sizes; resume={run_dir} continues with the new ones, or choose another "
                             "run_dir=, or replace it with overwrite=true")  # fmt: skip

    def apply(self, trainer: Trainer, data: InpaintingDataModule, checkpoints: Checkpoints) -> None:
        """Set ``trainer`` and the order of samples to the stored place, and log the notes; call it before ``fit``."""
        for note in self.notes:
            logger.warning(note)
        if self.progress.precision not in ("", trainer.precision):  # precision=auto, on another machine
            logger.warning("RESUMED WITH precision %s instead of %s: results differ from an uninterrupted run",
                           trainer.precision, self.progress.precision)  # fmt: skip
        place = self.place(trainer, data)
        go_on_from(place, trainer, data)
        over = place.batch == place.batches
        where = f"epoch {place.epoch + 1}, {'its end' if over else f'batch {place.batch + 1} of {place.batches}'}"
        logger.info("resumed from %s: iteration %d, %s", self.path, place.iteration, where)
        checkpoints.resumed = self.path, self.progress.iteration
        checkpoints.files.opened[self.path] = self.content
        if trainer.is_global_zero and self.path == checkpoints.folder / PREVIOUS:  # so last.ckpt is damaged
            (checkpoints.folder / LAST).unlink(missing_ok=True)

    def place(self, trainer: Trainer, data: InpaintingDataModule) -> Progress:
        """Where the training continues: within an epoch, or at its beginning if the order of samples has changed."""
        changes = self.progress.differences(trainer, data)
        if not changes:
            return self.progress
        again = f"; epoch {self.progress.epoch + 1} begins again" if self.progress.batch else ""
        changed = " and ".join(changes)
        logger.warning("RESUMED WITH %s: results differ from an uninterrupted run and may be worse%s", changed, again)
        return replace(self.progress, batch=0, batches=data.batches(trainer.world_size), validation="none")


def find_run(
    run_dir: str | Path,
    resume: str | None,  # auto: the run in ``run_dir``, if any; None: never; or a checkpoint, or another run's folder
    overwrite: bool,
    config: str,  # resolved, YAML
    command: str = "",  # the command line; other changes of ``config`` come from an update of the code
) -> Resumption | None:
    """The checkpoint to continue from; None begins a new run.

    A command that has begun a new run from another one (``resume=PATH``) continues the new run when it is repeated.
    Raises ValueError where the run was begun with another ``config``, FileExistsError where ``run_dir`` holds a run
    that must not be continued, FileNotFoundError where there is nothing at ``resume``, PermissionError.
    """
    run_dir = Path(run_dir)
    now = Request(config, command)
    if run_dir.exists() and not run_dir.is_dir():
        raise NotADirectoryError(f"run_dir={run_dir}: is a file; expected a folder, or a name for a new one")
    check_writable(run_dir, "run_dir")
    if overwrite and run_dir.exists() and not (run_dir / "config.yaml").is_file() and any(run_dir.glob("[!.]*")):
        raise ValueError(f"overwrite=true run_dir={run_dir}: holds no training run but other files; choose another")
    names_a_checkpoint = resume is not None and resume != "auto"
    if names_a_checkpoint and (overwrite or not _begun_from(run_dir, str(resume))):
        return _named(Path(str(resume)), run_dir, now)
    if overwrite:
        return None
    found = None if resume is None else _own(run_dir, now)
    if found is None:
        check_free(run_dir)
    return found


def check_free(run_dir: Path) -> None:
    """Raise FileExistsError where a new run would write over another."""
    if _has_weights(run_dir) or any((run_dir / "checkpoints").glob("[!.]*.ckpt")):
        advice = "continue it with resume=auto, choose another run_dir=, or replace it with overwrite=true"
        raise FileExistsError(f"run_dir={run_dir}: holds a run already; {advice}")


def _has_weights(run_dir: Path) -> bool:
    """An empty folder is left by a full disk, or where a run was overwritten and killed before its first checkpoint."""
    return any((run_dir / "models").glob("[!.]*"))


def _own(run_dir: Path, now: Request) -> Resumption | None:
    """The newest checkpoint in ``run_dir``, if its run was begun with the same configuration."""
    newest = newest_checkpoint(run_dir / "checkpoints")
    if newest is None:
        return None
    path, content, notes = newest
    before = Request.of_run(run_dir)
    refused, by_update, moved = compare(before, now)
    if not before.config:
        notes.append(f"run_dir={run_dir}: config.yaml is missing, so its configuration could not be compared with this "
                     "command")  # fmt: skip
    progress = Progress(**content["progress"])
    refused = refused if progress.files else [*moved, *refused]  # older runs know no fingerprint
    if refused:
        advice = "continue it with its own command (if an update changed a default, pass the old value), "
        advice += f"go on with these settings by resume={run_dir}, choose another run_dir=, or replace it with "
        advice += "overwrite=true"
        raise ValueError(f"run_dir={run_dir}: the run there was begun with {joined(refused)}; {advice}")
    if by_update:
        notes.append(f"run_dir={run_dir}: configuration keys changed by an update of the code, at their defaults: "
                     f"{joined(by_update)}")  # fmt: skip
    return Resumption(path, progress, notes, moved, content)


def _begun_from(run_dir: Path, resume: str) -> bool:
    """Whether ``run_dir`` holds a run, with a checkpoint of its own, that was begun by ``resume=`` this."""
    own = run_dir.resolve() in (Path(resume).resolve(), *Path(resume).resolve().parents)
    before = yaml.safe_load(Request.of_run(run_dir).config) or {}
    return not own and before.get("resume") == resume and (run_dir / "checkpoints" / LAST).is_file()


def _named(path: Path, run_dir: Path, now: Request) -> Resumption:
    """The checkpoint that ``resume=PATH`` names."""
    expected = "expected auto, null, a run's folder or its checkpoints/last.ckpt"
    notes: list[str] = []
    if path.is_dir():
        newest = newest_checkpoint(path / "checkpoints")
        if newest is None:
            raise FileNotFoundError(f"resume={path}: a folder without checkpoints/last.ckpt; {expected}")
        path, content, notes = newest
    elif not path.is_file():
        meant = "; did you mean auto?" if get_close_matches(str(path), ["auto"]) else ""
        raise FileNotFoundError(f"resume={path}: no such checkpoint{meant}; {expected}")
    else:
        try:
            content = read_checkpoint(path)
        except ValueError as error:
            problem = "weights for inference" if path.suffix == ".safetensors" else error
            advice = "init_from= starts from the weights of other files"
            raise ValueError(f"resume={path}: {problem}; {expected}; {advice}") from error
    own = path.resolve().parent == (run_dir / "checkpoints").resolve()
    if not own and _has_weights(run_dir):
        raise FileExistsError(f"run_dir={run_dir}: holds another run than resume={path}; choose another run_dir=")
    refused, by_update, moved = compare(Request.of_run(path.parent.parent), now)
    optimizers = [line for line in refused if re.match(r"optimizers\.\w+\._target_=", line)]
    if optimizers:
        raise ValueError(f"resume={path}: the run was begun with {joined(optimizers)}; the state of one optimiser does "
                         "not fit another; init_from= begins with new ones")  # fmt: skip
    changed = [*moved, *refused, *by_update]
    if changed:
        notes.append(f"resume={path}: the run was begun with {joined(changed)}")
    return Resumption(path, Progress(**content["progress"]), notes, content=content)


@contextmanager
def fits(resume: Resumption | None) -> Iterator[None]:
    """Turn PyTorch's error about weights of other networks into a ValueError of one line."""
    try:
        yield
    except RuntimeError as error:
        if resume is None or not str(error).startswith("Error(s) in loading state_dict"):
            raise
        first, *more = str(error).splitlines()[1:]
        example = short(first.strip(), 150) + (f", and {len(more)} more" if more else "")
        advice = "continue it with its own generator= and discriminator=, or begin a new run with init_from="
        raise ValueError(f"resume={resume.path}: holds other networks than configured ({example}); {advice}") from error

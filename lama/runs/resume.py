"""Which run a command continues: with ``resume=auto``, the one that it began before."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Trainer

from lama.data.datamodule import InpaintingDataModule
from lama.runs.checkpointing import LAST, newest_checkpoint, read_checkpoint
from lama.runs.progress import Progress

logger = logging.getLogger(__name__)

# What a run may be continued with otherwise than it was begun, without a word.
HARMLESS = (
    "resume", "overwrite", "debug", "dry_run", "recipe.validate_raw",
    "run_dir", "run_title", "location.out_root_dir", "monitor", "init_from", "init_parts",
    "weights", "evaluator.weights", "checkpoint", "faults", "data.num_workers", "data.cache_gb", "data.max_broken",
    "trainer.max_epochs", "trainer.log_every_n_steps", "trainer.enable_model_summary", "trainer.enable_progress_bar",
    "recipe.recompute_blocks",
)  # fmt: skip
# What it may be continued with too, at the beginning of the interrupted epoch (``Progress.differences`` says so).
AT_AN_EPOCH = ("data.batch_size", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.accelerator")
MOST = 6  # differences that fit into one line


@dataclass(frozen=True)
class Resumption:
    """A checkpoint to go on from."""

    path: Path
    progress: Progress
    notes: list[str] = field(default_factory=list)  # warnings, for the log

    def finished(self, epochs: Any) -> bool:
        """Whether a training of so many epochs is over, and has written what it writes at its end."""
        written = (self.path.parent.parent / "summary.json").is_file()
        return isinstance(epochs, int) and self.progress.epoch >= epochs and written

    def all_done(self) -> str:
        """What to say of a training that is over."""
        done, run_dir = self.progress.epoch, self.path.parent.parent
        return f"{run_dir}: has trained all of its {done} epochs; train on with trainer.max_epochs={2 * done}, say"

    def place(self, trainer: Trainer, data: InpaintingDataModule) -> Progress:
        """Where the training goes on: in the middle of an epoch, or at its beginning where its order has changed."""
        changes = self.progress.differences(trainer, data)
        if not changes:
            return self.progress
        again = f"; epoch {self.progress.epoch + 1} begins again" if self.progress.batch else ""
        logger.warning(
            "RESUMED WITH %s: not what an uninterrupted run would have computed, and quality may suffer%s",
            " and ".join(changes), again,
        )  # fmt: skip
        return self.progress.begin_epoch_again(data.batches(trainer.world_size))


def find_run(run_dir: str | Path, resume: str | None, overwrite: bool, config: str) -> Resumption | None:
    """What to continue; None begins a new run.

    ``resume`` is "auto" (the run in ``run_dir``, if there is one), None (never), or the path of a checkpoint or of
    another run; where ``run_dir`` holds what was begun from there already, that is continued. Raises ValueError where
    the run was begun with another ``config`` (YAML), FileExistsError where ``run_dir`` holds a run that shall not be
    continued, FileNotFoundError where ``resume`` is not there.
    """
    run_dir = Path(run_dir)
    if run_dir.exists() and not run_dir.is_dir():
        raise NotADirectoryError(f"run_dir={run_dir}: is a file; expected a folder, or a name for a new one")
    if overwrite and run_dir.exists() and not (run_dir / "config.yaml").is_file() and any(run_dir.glob("[!.]*")):
        raise ValueError(f"overwrite=true run_dir={run_dir}: holds no training run but other files; choose another")
    if resume not in (None, "auto") and not (_asked_before(run_dir, resume) and not overwrite):
        return _from(Path(resume), run_dir, config)
    if overwrite:
        return None
    newest = newest_checkpoint(run_dir / "checkpoints") if resume is not None else None
    if newest is None:
        if (run_dir / "models").exists() or any((run_dir / "checkpoints").glob("[!.]*.ckpt")):
            raise FileExistsError(
                f"run_dir={run_dir}: holds a run already; continue it with resume=auto, choose another run_dir=, or "
                "replace it with overwrite=true"
            )
        return None
    path, content, notes = newest
    differing = differences(_read(run_dir / "config.yaml"), config)
    if differing:
        raise ValueError(
            f"run_dir={run_dir}: the run there was begun with {', '.join(differing)}; continue it with its own "
            "command, choose another run_dir=, or replace it with overwrite=true"
        )
    return Resumption(path, Progress(**content["progress"]), notes)


def _asked_before(run_dir: Path, resume: str) -> bool:
    """Whether the run in ``run_dir`` was begun by ``resume``, and has come further since."""
    own = run_dir.resolve() in (Path(resume).resolve(), *Path(resume).resolve().parents)
    before = yaml.safe_load(_read(run_dir / "config.yaml")) or {}
    return not own and before.get("resume") == str(resume) and (run_dir / "checkpoints" / LAST).is_file()


def _from(path: Path, run_dir: Path, config: str) -> Resumption:
    """A checkpoint that somebody asks for."""
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
            raise ValueError(
                f"resume={path}: {problem}; {expected}; init_from= starts from the weights of other files"
            ) from error
    own = path.resolve().parent == (run_dir / "checkpoints").resolve()
    if not own and (run_dir / "models").exists():
        raise FileExistsError(f"run_dir={run_dir}: holds another run than resume={path}; choose another run_dir=")
    before = _read(path.parent.parent / "config.yaml")
    differing = differences(before, config)
    kinds = [line for line in differences(before, config, most=None) if re.match(r"optimizers\.\w+\._target_=", line)]
    if kinds:
        raise ValueError(f"resume={path}: the run was begun with {', '.join(kinds)}: an optimiser of another kind has "
                         "no use for its state; init_from= begins with new ones")  # fmt: skip
    if differing:
        notes.append(f"resume={path}: the run was begun with {', '.join(differing)}")
    return Resumption(path, Progress(**content["progress"]), notes)


@contextmanager
def fits(resume: Resumption | None) -> Iterator[None]:
    """Turn PyTorch's error about weights of other networks into a ValueError of one line."""
    try:
        yield
    except RuntimeError as error:
        if resume is None or not str(error).startswith("Error(s) in loading state_dict"):
            raise
        first, *more = str(error).splitlines()[1:]
        example = _short(first.strip(), 150) + (f", and {len(more)} more" if more else "")
        raise ValueError(
            f"resume={resume.path}: its networks are not those of this configuration ({example}); continue it with its "
            "own generator= and discriminator=, or begin a new run from its weights with init_from="
        ) from error


def differences(before: str, now: str, most: int | None = MOST) -> list[str]:
    """Keys of two configurations (YAML) whose values differ, as "key=BEFORE (now: NOW)", without harmless ones."""
    if not before:  # somebody has removed it
        return []
    flat_before, flat_now = (_flatten(yaml.safe_load(text) or {}) for text in (before, now))
    seen: dict[tuple[str, str, str], str] = {}  # one key may stand in several places, filled in from the first
    for key in sorted(flat_before.keys() | flat_now.keys(), key=lambda key: (key.count("."), key)):
        a, b = flat_before.get(key, "not set"), flat_now.get(key, "not set")
        if a != b and not _may_differ(key):
            seen.setdefault((key.rpartition(".")[2], str(a), str(b)), f"{key}={_short(a)} (now: {_short(b)})")
    lines = list(seen.values())
    return lines if most is None or len(lines) <= most else [*lines[:most], f"{len(lines) - most} more"]


def _may_differ(key: str) -> bool:
    weights_file = key.startswith("losses.") and key.endswith(".weights")
    return weights_file or any(key == name or key.startswith(f"{name}.") for name in (*HARMLESS, *AT_AN_EPOCH))


def _flatten(node: Any, key: str = "") -> dict[str, Any]:
    """{dotted key: value} of nested mappings."""
    if not isinstance(node, dict) or not node:
        return {key: node}
    flat: dict[str, Any] = {}
    for name, value in node.items():
        flat |= _flatten(value, f"{key}.{name}" if key else str(name))
    return flat


def _short(value: Any, limit: int = 60) -> str:
    return text if len(text := str(value)) <= limit else f"{text[: limit - 3]}..."


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""

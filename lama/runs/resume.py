"""Find the run that a command continues: with ``resume=auto``, the one that the same command began before.

Its configuration is compared with the one that the run was begun with: some keys may differ.
"""

import logging
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Trainer

from lama.data.datamodule import InpaintingDataModule
from lama.runs.checkpointing import LAST, newest_checkpoint, read_checkpoint
from lama.runs.progress import Progress

logger = logging.getLogger(__name__)

# Keys without an effect on results, and keys that a user may change between the starts of a run.
HARMLESS = (
    "resume", "overwrite", "debug", "dry_run", "recipe.validate_raw",
    "run_dir", "run_title", "location.out_root_dir", "monitor", "init_from", "init_parts",
    "weights", "evaluator.weights", "checkpoint", "faults", "data.num_workers", "data.cache_gb", "data.max_broken",
    "trainer.max_epochs", "trainer.log_every_n_steps", "trainer.enable_model_summary", "trainer.enable_progress_bar",
    "recipe.recompute_blocks",
)  # fmt: skip
# Keys that may change too, but then the interrupted epoch begins again (``Progress.differences`` warns).
AT_AN_EPOCH = ("data.batch_size", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.accelerator")
# Where the data lie; they may move if the files stay the same (``InpaintingDataModule.fingerprint``).
PLACES = ("data.path", "data.val_path", "data.val_pairs", "location.data_root_dir")
COMMAND = "# command: "  # the first line of a run's config.yaml; a resumed run compares it
MOST = 6  # differences that fit into one line


@dataclass(frozen=True)
class Request:
    """The resolved configuration of a run (YAML) and the command that composed it; "" where one is not known."""

    config: str
    command: str = ""

    @classmethod
    def of_run(cls, run_dir: Path) -> "Request":
        """The request that the run in ``run_dir`` was begun with, from its config.yaml."""
        config = _read(run_dir / "config.yaml")
        if config.startswith(COMMAND):
            return cls(config, config.splitlines()[0].removeprefix(COMMAND))
        steps = _read(run_dir / "next_steps.txt").splitlines()  # of a run before config.yaml held the command
        return cls(config, next((line for line in steps if not line.startswith("#")), ""))

    def text(self) -> str:
        """The content of config.yaml: the command as a comment, then the configuration."""
        return f"{COMMAND}{' '.join(self.command.splitlines())}\n{self.config}"

    def arguments(self, key: str) -> set[str]:
        """The arguments of the command that choose the value of ``key``: -cn NAME, and overrides of it or its parents.

        A group option (``losses=lama``) overrides all keys of the group.
        """
        return {word for word in shlex.split(self.command)[2:] if _covers(_overridden(word), key)}


def compare(before: Request, now: Request) -> tuple[list[str], list[str], list[str]]:
    """Differing keys as "key=BEFORE (now: NOW)": refused ones, and ones that an update of the code has caused.

    The third list holds the places of the data that differ. Keys that may differ, and classes that only moved to
    another module, are left out.

    A key that only one configuration has was added or removed by an update of the code if the arguments that choose its
    value are the same in both commands. It then has its default, which is not refused; but a term of the losses that
    comes or goes is.
    """
    refused: dict[tuple[str, str, str], str] = {}
    by_update: dict[tuple[str, str, str], str] = {}
    moved: dict[tuple[str, str, str], str] = {}
    if before.config:  # else ``find_run`` warns
        old, new = (_flatten(yaml.safe_load(request.config) or {}) for request in (before, now))
        for key in sorted(old.keys() | new.keys(), key=lambda key: (key.count("."), key)):
            a, b = old.get(key, "not set"), new.get(key, "not set")
            if a == b or any(_covers(name, key) for name in (*HARMLESS, *AT_AN_EPOCH)) or _moved(key, a, b):
                continue
            if key.startswith("losses.") and key.endswith(".weights"):  # where a file lies
                continue
            # A configuration has a key too if it has a value, such as null, in place of one of the key's parents.
            only_one = not all(any(_covers(known, key) for known in flat) for flat in (old, new))
            updated = only_one and before.command and before.arguments(key) == now.arguments(key)
            is_loss_term = key.startswith("losses.") and key.endswith("._target_")
            found = by_update if updated and not is_loss_term else refused
            if key in PLACES and isinstance(a, str) and isinstance(b, str) and not only_one:
                found = moved
            # A key may be interpolated into several places; it is reported once.
            found.setdefault((key.rpartition(".")[2], str(a), str(b)), f"{key}={short(a)} (now: {short(b)})")
    return list(refused.values()), list(by_update.values()), list(moved.values())


def joined(lines: list[str]) -> str:
    return ", ".join(lines if len(lines) <= MOST else [*lines[:MOST], f"{len(lines) - MOST} more"])


def short(value: Any, limit: int = 60) -> str:
    """``value`` as text of at most ``limit`` characters."""
    return text if len(text := str(value)) <= limit else f"{text[: limit - 3]}..."


def _overridden(word: str) -> str:
    """The key that an argument overrides; "" for a flag or its value, which concern all keys."""
    if word.startswith("-") or ("=" not in word and not word.startswith("~")):
        return ""
    return word.lstrip("+~").partition("=")[0].rpartition("@")[2].replace("/", ".")


def _covers(name: str, key: str) -> bool:
    """Whether ``name`` is ``key``, one of its parents, or the root ("")."""
    return not name or key == name or key.startswith(f"{name}.")


def _moved(key: str, before: Any, now: Any) -> bool:
    """Whether a class of ours has the same name in another module."""
    names = [str(value).rpartition(".")[2] for value in (before, now) if str(value).startswith("lama.")]
    return key.rpartition(".")[2] == "_target_" and len(names) == 2 and names[0] == names[1]


def _flatten(node: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {key: node}
    flat: dict[str, Any] = {}
    for name, value in node.items():
        flat |= _flatten(value, f"{key}.{name}" if key else str(name))
    return flat


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@dataclass(frozen=True)
class Resumption:
    path: Path
    progress: Progress
    notes: list[str] = field(default_factory=list)  # warnings, for the log
    moved: list[str] = field(default_factory=list)  # places of the data that differ from the command of the run

    def finished(self, epochs: Any) -> bool:
        """Whether the training of ``epochs`` epochs is over and has written its results."""
        written = (self.path.parent.parent / "summary.json").is_file()
        return isinstance(epochs, int) and self.progress.epoch >= epochs and written

    def all_done(self) -> str:
        done, run_dir = self.progress.epoch, self.path.parent.parent
        return f"{run_dir}: has trained all of its {done} epochs; train on with trainer.max_epochs={2 * done}, say"

    def check_data(self, data: InpaintingDataModule) -> None:
        """Raise ValueError if the data have ``moved`` and are not the files that the run was begun with."""
        if self.moved and self.progress.files != data.fingerprint:
            run_dir = self.path.parent.parent
            raise ValueError(f"run_dir={run_dir}: the run there was begun with {joined(self.moved)}, whose files have "
                             f"other names or sizes; resume={run_dir} continues with the new ones, or choose another "
                             "run_dir=, or replace it with overwrite=true")  # fmt: skip

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
    that must not be continued, FileNotFoundError where there is nothing at ``resume``.
    """
    run_dir = Path(run_dir)
    now = Request(config, command)
    if run_dir.exists() and not run_dir.is_dir():
        raise NotADirectoryError(f"run_dir={run_dir}: is a file; expected a folder, or a name for a new one")
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
    if (run_dir / "models").exists() or any((run_dir / "checkpoints").glob("[!.]*.ckpt")):
        advice = "continue it with resume=auto, choose another run_dir=, or replace it with overwrite=true"
        raise FileExistsError(f"run_dir={run_dir}: holds a run already; {advice}")


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
    return Resumption(path, progress, notes, moved)


def _begun_from(run_dir: Path, resume: str) -> bool:
    """Whether ``run_dir`` holds a run, with a checkpoint of its own, that was begun by ``resume=`` this."""
    own = run_dir.resolve() in (Path(resume).resolve(), *Path(resume).resolve().parents)
    before = yaml.safe_load(Request.of_run(run_dir).config) or {}
    return not own and before.get("resume") == resume and (run_dir / "checkpoints" / LAST).is_file()


def _named(path: Path, run_dir: Path, now: Request) -> Resumption:
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
    if not own and (run_dir / "models").exists():
        raise FileExistsError(f"run_dir={run_dir}: holds another run than resume={path}; choose another run_dir=")
    refused, by_update, moved = compare(Request.of_run(path.parent.parent), now)
    optimizers = [line for line in refused if re.match(r"optimizers\.\w+\._target_=", line)]
    if optimizers:
        raise ValueError(f"resume={path}: the run was begun with {joined(optimizers)}; the state of one optimiser does "
                         "not fit another; init_from= begins with new ones")  # fmt: skip
    changed = [*moved, *refused, *by_update]
    if changed:
        notes.append(f"resume={path}: the run was begun with {joined(changed)}")
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
        example = short(first.strip(), 150) + (f", and {len(more)} more" if more else "")
        advice = "continue it with its own generator= and discriminator=, or begin a new run with init_from="
        raise ValueError(f"resume={resume.path}: holds other networks than configured ({example}); {advice}") from error

"""Compare the configuration of a run with its first one: some keys may differ when it is resumed."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

# Keys without an effect on results, and keys that a user may change between the starts of a run.
HARMLESS = (
    "resume", "overwrite", "debug", "dry_run", "recipe.validate_raw",
    "run_dir", "run_title", "location.out_root_dir", "monitor", "init_from", "init_parts", "logger",
    "weights", "evaluator.weights", "checkpoint", "faults", "data.num_workers", "data.cache_gb", "data.max_broken",
    "trainer.max_epochs", "trainer.log_every_n_steps", "trainer.enable_model_summary", "trainer.enable_progress_bar",
    "recipe.recompute_blocks",
)  # fmt: skip
# Keys that may change too, but then the interrupted epoch begins again (``Progress.differences`` warns).
AT_AN_EPOCH = ("data.batch_size", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.accelerator")
# Where the data lie; they may move if the files stay the same (``InpaintingDataModule.fingerprint``).
PLACES = ("data.path", "data.val_path", "data.val_pairs", "location.data_root_dir")
# Keys that may differ between the machines of one training: a machine's own paths, and what it can do.
OWN = (*PLACES, "run_dir", "run_title", "location", "weights", "evaluator.weights", "init_from", "data.num_workers",
       "data.cache_gb", "trainer.enable_progress_bar", "logger")  # fmt: skip
PART = re.compile(r"data\.path\.[^.]+\.path")  # of a mixture
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


class Changes(NamedTuple):
    """Differing keys, each as "key=BEFORE (now: NOW)"."""

    refused: list[str]  # would make this another training
    by_update: list[str]  # added or removed by an update of the code, and at their defaults
    moved: list[str]  # paths of the data, which may hold the same files


def compare(before: Request, now: Request) -> Changes:
    """The keys in which two configurations differ, without those that may differ, or name a class that only moved.

    A key that only one configuration has was added or removed by an update of the code if the arguments that choose its
    value are the same in both commands. A loss term that appears or disappears is refused all the same.
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
            if (key in PLACES or PART.fullmatch(key)) and isinstance(a, str) and isinstance(b, str) and not only_one:
                found = moved
            # A key may be interpolated into several places; it is reported once.
            found.setdefault((key.rpartition(".")[2], str(a), str(b)), f"{key}={short(a)} (now: {short(b)})")
    return Changes(list(refused.values()), list(by_update.values()), list(moved.values()))


def between_ranks(first: Request, other: Request) -> list[str]:
    """The keys in which two ranks of one training differ and must not, each as "KEY=OTHER (KEY of the first)"."""
    a, b = (_flatten(yaml.safe_load(request.config) or {}) for request in (first, other))
    keys = sorted(a.keys() | b.keys(), key=lambda key: (key.count("."), key))
    return [
        f"{key}={short(b.get(key, 'not set'))} ({short(a.get(key, 'not set'))})"
        for key in keys
        if a.get(key) != b.get(key) and not any(_covers(name, key) for name in OWN) and not PART.fullmatch(key)
        and not (key.startswith("losses.") and key.endswith(".weights"))
    ]  # fmt: skip


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

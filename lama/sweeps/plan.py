"""A sweep: rows, seeds, and the commands of all trainings and evaluations; stored as sweep.yaml in its folder."""

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from lama.config import literal
from lama.files import write_text
from lama.verbs import subprocess_of, typed

SET_BY_SWEEP = {  # keys of training that a sweep sets itself, and their replacements
    "seed": "seeds=[0,1,2]", "run_dir": "dir=FOLDER", "run_title": "dir=FOLDER",
    "trainer.devices": "launcher.devices=N", "trainer.num_nodes": "launcher.nodes=N",
    "resume": "the same command again", "overwrite": "another dir=", "debug": "train without -m",
    "dry_run": "train without -m",
}  # fmt: skip


class Piece(Protocol):
    """One job of a plan: a training or an evaluation of a sweep, or a shard."""

    @property
    def kind(self) -> str:
        """The command: train, evaluate or predict."""

    @property
    def title(self) -> str:
        """Its name in messages; ``str`` gives kind and title, and the plan's ``piece`` reads that."""


class Plan(Protocol):
    """Pieces of work with a command for each: a sweep, or the shards of a prediction."""

    @property
    def folder(self) -> Path: ...

    @property
    def launcher(self) -> dict[str, Any]: ...  # configs/sweep/launcher

    @property
    def retries(self) -> int: ...

    def piece(self, text: str) -> Any: ...

    def command(self, work: Any) -> list[str]: ...

    def continues(self, work: Any) -> str: ...  # how a piece goes on that a signal has stopped


@dataclass(frozen=True)
class Sweep:
    """The rows of a table, each trained once for every seed. Raises ValueError for invalid settings."""

    name: str
    dir: str  # the sweep's folder
    rows: list[str]  # names of configurations of training, or of ``configurations``
    seeds: list[int]
    overrides: list[str]  # of every training
    own: dict[str, list[str]]  # overrides of single rows
    retries: int  # of a crashed training
    launcher: dict[str, Any]  # configs/sweep/launcher
    evaluation: dict[str, Any]  # "sets" (a folder), "metrics", "size" (pixels), "overrides" of evaluate
    configurations: dict[str, str] = field(default_factory=dict)  # of rows with another name than theirs
    config_dir: str | None = None  # a folder with configurations of the user
    plugins: list[str] = field(default_factory=list)  # packages of the user that the rows name
    search: dict[str, Any] | None = None  # "trials", "metric", and "space": overrides with the values to choose from

    def __post_init__(self) -> None:
        for key, what in (("rows", self.rows), ("seeds", self.seeds)):
            if not what or len(set(what)) < len(what):
                raise ValueError(f"{key}={what}: expected one or more, each once")
        for row in self.rows:
            if not re.fullmatch(r"[\w.=,+-]{1,150}", row):
                raise ValueError(f"rows: {row!r} is no name of a folder; expected up to 150 letters, digits and .=,+-_")
        if not all(isinstance(seed, int) and seed >= 0 for seed in self.seeds):
            raise ValueError(f"seeds={self.seeds}: expected whole numbers of at least 0")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"retries={self.retries}: expected a whole number of at least 0")
        for name in ("devices", "nodes"):
            value = self.launcher[name]
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"launcher.{name}={value}: expected a whole number of at least 1")
        for override in (*self.overrides, *(one for overrides in self.own.values() for one in overrides)):
            key = override.lstrip("+~").partition("=")[0]
            if key in SET_BY_SWEEP:
                raise ValueError(f"{override}: a sweep sets {key} itself; use {SET_BY_SWEEP[key]}")

    @property
    def folder(self) -> Path:
        return Path(self.dir)

    def trainings(self) -> list["Work"]:
        return [Work("train", row, seed) for row in self.rows for seed in self.seeds]

    def sets(self) -> list[str]:
        """Names of the evaluation sets, which are folders in ``evaluation.sets``.

        Raises ValueError if no folder is given or it is a set itself, FileNotFoundError if it is missing or holds none.
        """
        where = self.evaluation["sets"]
        if where is None:
            command = f"{typed('sweep')} collect {self.dir} SETS"
            raise ValueError(f"evaluation.sets: no folder is given; {command}; SETS: sets made by {typed('masks')}")
        if not Path(where).is_dir():
            raise FileNotFoundError(f"evaluation.sets={where}: no such folder")
        if (Path(where) / "manifest.json").is_file():
            parent = Path(os.path.abspath(where)).parent
            raise ValueError(f"evaluation.sets={where}: is one frozen set; give its parent folder {parent}")
        found = sorted(path.parent.name for path in Path(where).glob("*/manifest.json"))
        if not found:
            raise FileNotFoundError(f"evaluation.sets={where}: no NAME/manifest.json in it; {typed('masks')} "
                                    "makes such sets")  # fmt: skip
        return found

    def run_dir(self, work: "Work") -> Path:
        return self.folder / "runs" / work.row / f"seed{work.seed}"

    def piece(self, text: str) -> "Work":
        return Work.of(text)

    def continues(self, work: "Work") -> str:
        return "continues from its checkpoint" if self.has_checkpoint(work) else "starts anew"

    def has_checkpoint(self, work: "Work") -> bool:
        return any(self.run_dir(work).glob("checkpoints/*.ckpt"))

    def configuration(self, row: str) -> str:
        return self.configurations.get(row, row)

    def training_overrides(self, work: "Work") -> list[str]:
        return [
            *self.overrides, *self.own.get(work.row, []),
            f"trainer.devices={self.launcher['devices']}", f"trainer.num_nodes={self.launcher['nodes']}",
            f"seed={work.seed}", literal(f"run_dir={self.run_dir(work)}", ["run_dir"]),
        ]  # fmt: skip

    def command(self, work: "Work") -> list[str]:
        """The command of this package that does ``work``, as a list of arguments."""
        if work.kind == "train":
            own = [] if self.config_dir is None else ["--config-dir", self.config_dir]
            return [*subprocess_of("train"), "-cn", self.configuration(work.row), *own, *self.training_overrides(work)]
        metrics = ",".join(self.evaluation["metrics"])
        out = self.folder / "evaluations" / work.row / f"seed{work.seed}" / str(work.set_name)  # for ``make_tables``
        return [
            *subprocess_of("evaluate"), f"indir={self.evaluation['sets']}/{work.set_name}",
            f"model.path={self.run_dir(work)}", f"outdir={out}", f"metrics=[{metrics}]",
            "overwrite=true", *([f"plugins=[{','.join(self.plugins)}]"] if self.plugins else []),
            *self.evaluation["overrides"],
        ]  # fmt: skip


@dataclass(frozen=True)
class Work:
    """One training or one evaluation of a sweep; one job on a cluster."""

    kind: str  # train or evaluate
    row: str
    seed: int
    set_name: str | None = None

    def __str__(self) -> str:
        """The text that ``of`` parses."""
        return "/".join([self.kind, self.row, f"seed{self.seed}", *([self.set_name] if self.set_name else [])])

    @classmethod
    def of(cls, text: str) -> "Work":
        """The work that ``str`` has written as KIND/ROW/seedN or KIND/ROW/seedN/SET."""
        kind, row, seed, *set_name = text.split("/")
        return cls(kind, row, int(seed.removeprefix("seed")), *set_name)

    @property
    def title(self) -> str:
        return str(self).partition("/")[2]


def save(sweep: Sweep) -> None:
    write_text(sweep.folder / "sweep.yaml", yaml.safe_dump(asdict(sweep), sort_keys=False))


def load(folder: str | Path) -> Sweep:
    """The sweep in ``folder``. Raises FileNotFoundError or ValueError if it has no valid sweep.yaml."""
    file = Path(folder) / "sweep.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: no sweep.yaml in it; expected the folder of a sweep ({typed('train')} -m "
                                "sweep=NAME), or results in shards (-m shards=N)")  # fmt: skip
    try:
        return Sweep(**(read_yaml(file) | {"dir": str(folder)}))
    except (TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: not the sweep.yaml of this version ({error})") from error


def read_yaml(file: Path) -> Any:
    """The content of a YAML file, by libyaml where PyYAML has it: ten times faster for thousands of rows."""
    return yaml.load(file.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def check_same(before: Sweep, now: Sweep) -> None:
    """Raise ValueError if ``now`` would train something else in the folder of ``before``."""
    if before.name != now.name:
        raise ValueError(f"dir={now.dir}: holds the sweep {before.name}; choose another dir= for {now.name}")
    kept = set(now.rows)
    both = [row for row in before.rows if row in kept]
    old, new = _settings(before, both), _settings(now, both)
    removed, added = _without(old, set(new)), _without(new, set(old))
    if removed or added:
        changes = f"{' '.join(removed) or 'nothing'} (now: {' '.join(added) or 'nothing'})"
        raise ValueError(f"dir={now.dir}: the sweep there was begun with {changes}; give the same, or another dir=")


def _without(settings: list[str], those: set[str]) -> list[str]:
    return [one for one in settings if one not in those]


def _settings(sweep: Sweep, rows: list[str]) -> list[str]:
    """Settings that change the results of ``rows``, as overrides; rows, seeds and how jobs run may change."""
    named = [f"{row}: {sweep.configuration(row)}" for row in rows if row in sweep.configurations]
    own = [f"{row}: {override}" for row in rows for override in sweep.own.get(row, [])]
    return [
        *sweep.overrides,
        *named,
        *own,
        *(f"launcher.{name}={sweep.launcher[name]}" for name in ("devices", "nodes")),
    ]

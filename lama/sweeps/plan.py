"""What a sweep is: rows, seeds, and the command of every training and evaluation. Kept as sweep.yaml in its folder."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from lama.config import literal
from lama.files import atomic_write
from lama.verbs import subprocess_of, typed

OURS = {  # keys of training that a sweep sets itself, and who does
    "seed": "seeds=[0,1,2]", "run_dir": "dir=FOLDER", "run_title": "dir=FOLDER",
    "trainer.devices": "launcher.devices=N", "trainer.num_nodes": "launcher.nodes=N",
    "resume": "the same command, which goes on", "overwrite": "another dir=", "debug": "train without -m",
    "dry_run": "train without -m",
}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """The rows of a table, each trained once for every seed. Raises ValueError for one that cannot be."""

    name: str
    dir: str  # where all of it lies
    rows: list[str]  # configurations of training
    seeds: list[int]
    overrides: list[str]  # of every training
    own: dict[str, list[str]]  # of some rows
    retries: int  # starts after a crash
    launcher: dict[str, Any]  # configs/sweep/launcher
    evaluation: dict[str, Any]  # "sets" (a folder), "metrics", "size" (pixels), "overrides" of evaluate

    def __post_init__(self) -> None:
        for key, what in (("rows", self.rows), ("seeds", self.seeds)):
            if not what or len(set(what)) < len(what):
                raise ValueError(f"{key}={what}: expected one or more, each once")
        if not all(isinstance(seed, int) and seed >= 0 for seed in self.seeds):
            raise ValueError(f"seeds={self.seeds}: expected whole numbers of at least 0")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"retries={self.retries}: expected a whole number of at least 0")
        for name in ("devices", "nodes"):
            value = self.launcher[name]
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"launcher.{name}={value}: expected a whole number of at least 1")
        for override in (*self.overrides, *(one for some in self.own.values() for one in some)):
            key = override.lstrip("+~").partition("=")[0]
            if key in OURS:
                raise ValueError(f"{override}: a sweep sets {key} itself; use {OURS[key]}")

    @property
    def folder(self) -> Path:
        return Path(self.dir)

    def trainings(self) -> list["Work"]:
        """One for every row and seed."""
        return [Work("train", row, seed) for row in self.rows for seed in self.seeds]

    def sets(self) -> list[str]:
        """Names of the frozen sets. Raises ValueError where nobody has said which, FileNotFoundError where none is."""
        where = self.evaluation["sets"]
        if where is None:
            raise ValueError("evaluation.sets: which frozen sets? expected a folder that holds random_thick_512, "
                             f"random_thin_512, segm_512 or others of {typed('masks')}")  # fmt: skip
        found = sorted(path.parent.name for path in Path(where).glob("*/manifest.json"))
        if not found:
            raise FileNotFoundError(f"evaluation.sets={where}: no NAME/manifest.json in it; {typed('masks')} "
                                    "makes such sets")  # fmt: skip
        return found

    def run_dir(self, work: "Work") -> Path:
        """Where a training writes, and where evaluations find it."""
        return self.folder / "runs" / work.row / f"seed{work.seed}"

    def evaluation_dir(self, work: "Work") -> Path:
        """Where ``make_tables`` looks for it."""
        return self.folder / "evaluations" / work.row / f"seed{work.seed}" / str(work.set_name)

    def training_overrides(self, work: "Work") -> list[str]:
        """What its command says besides the configuration's name; later ones win."""
        return [
            *self.overrides, *self.own.get(work.row, []),
            f"trainer.devices={self.launcher['devices']}", f"trainer.num_nodes={self.launcher['nodes']}",
            f"seed={work.seed}", literal(f"run_dir={self.run_dir(work)}", ["run_dir"]),
        ]  # fmt: skip

    def command(self, work: "Work") -> list[str]:
        """What a person would type."""
        if work.kind == "train":
            return [*subprocess_of("train"), "-cn", work.row, *self.training_overrides(work)]
        metrics = ",".join(self.evaluation["metrics"])
        return [
            *subprocess_of("evaluate"), f"indir={self.evaluation['sets']}/{work.set_name}",
            f"model.path={self.run_dir(work)}", f"outdir={self.evaluation_dir(work)}", f"metrics=[{metrics}]",
            "overwrite=true", *self.evaluation["overrides"],
        ]  # fmt: skip


@dataclass(frozen=True)
class Work:
    """One job of a sweep."""

    kind: str  # train or evaluate
    row: str
    seed: int
    set_name: str | None = None

    def __str__(self) -> str:
        """As ``of`` reads it."""
        return "/".join([self.kind, self.row, f"seed{self.seed}", *([self.set_name] if self.set_name else [])])

    @classmethod
    def of(cls, text: str) -> "Work":
        kind, row, seed, *set_name = text.split("/")
        return cls(kind, row, int(seed.removeprefix("seed")), *set_name)

    @property
    def title(self) -> str:
        """A name for files and people."""
        return str(self).partition("/")[2]


def save(sweep: Sweep) -> None:
    """Keep the sweep in its folder."""
    with atomic_write(sweep.folder / "sweep.yaml") as partial:
        partial.write_text(yaml.safe_dump(asdict(sweep), sort_keys=False))


def load(folder: str | Path) -> Sweep:
    """The sweep that was begun in ``folder``. Raises FileNotFoundError or ValueError where there is none."""
    file = Path(folder) / "sweep.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: no sweep.yaml in it; expected the folder of a sweep, "
                                f"{typed('train')} -m sweep=NAME makes one")  # fmt: skip
    try:
        return Sweep(**(yaml.safe_load(file.read_text()) | {"dir": str(folder)}))
    except (TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: not the sweep.yaml of this version ({error})") from error


def check_same(before: Sweep, now: Sweep) -> None:
    """Raise ValueError where ``now`` would train something else in the folder of ``before``."""
    if before.name != now.name:
        raise ValueError(f"dir={now.dir}: holds the sweep {before.name}; choose another dir= for {now.name}")
    old, new = _what_decides(before), _what_decides(now)
    gone, come = ([one for one in these if one not in those] for these, those in ((old, new), (new, old)))
    if gone or come:
        changes = f"{' '.join(gone) or 'nothing'} (now: {' '.join(come) or 'nothing'})"
        raise ValueError(f"dir={now.dir}: the sweep there was begun with {changes}; say so again, or another dir=")


def _what_decides(sweep: Sweep) -> list[str]:
    """What numbers depend on, as overrides; rows, seeds and how jobs run may change."""
    own = [f"{row}: {override}" for row, overrides in sweep.own.items() for override in overrides]
    return [*sweep.overrides, *own, *(f"launcher.{name}={sweep.launcher[name]}" for name in ("devices", "nodes"))]

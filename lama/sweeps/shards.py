"""A prediction or an evaluation in shards: a plan whose pieces are parts of one list, stored beside the results."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lama.files import check_writable, write_text
from lama.machine.lock import only_one
from lama.sweeps import settings
from lama.sweeps.plan import read_yaml
from lama.sweeps.prediction import any_result
from lama.verbs import subprocess_of

PLACE, FILE = ".shards", "shards.yaml"  # the hidden folder in the folder of results, and the file in it
PIECES = "pieces"  # the folder in it for the pieces of an evaluation


@dataclass(frozen=True)
class Piece:
    """One shard: a job that runs ``lama KIND ... shard=NUMBER``."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.title}"

    @property
    def title(self) -> str:
        return f"shard{self.number:04d}"


@dataclass(frozen=True)
class Shards:
    """The command of ``verb`` with ``arguments``, in ``shards`` parts. Raises ValueError for invalid settings."""

    verb: str
    dir: str  # the folder of the jobs
    shards: int
    arguments: list[str]  # of the command, for all parts
    launcher: dict[str, Any]  # configs/sweep/launcher
    retries: int  # of a shard that fails, in the same job

    def __post_init__(self) -> None:
        for key, value, least in (("shards", self.shards, 1), ("retries", self.retries, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{key}={value}: expected a whole number of at least {least}")
        for key in ("devices", "nodes"):
            if self.launcher[key] != 1:
                raise ValueError(f"launcher.{key}={self.launcher[key]}: a shard is one process on one device; "
                                 "expected 1, and more shards=")  # fmt: skip

    @property
    def folder(self) -> Path:
        return Path(self.dir)

    def pieces(self) -> list[Piece]:
        return [Piece(self.verb, number) for number in range(self.shards)]

    def piece(self, text: str) -> Piece:
        """The piece that ``str`` has written as KIND/shardNUMBER."""
        kind, _, title = text.partition("/")
        return Piece(kind, int(title.removeprefix("shard")))

    def command(self, work: Piece) -> list[str]:
        """The command of one part, which can also be typed."""
        part = [f"shard={work.number}", f"shards={self.shards}"]
        again = ["skip_existing=true"] if self.verb == "predict" else []  # an evaluation skips finished shards anyway
        return [*subprocess_of(self.verb), *self.arguments, *part, *again]

    def continues(self, work: Piece) -> str:
        return "continues with the results that are missing" if self.verb == "predict" else "repeats this shard"


def save_shards(shards: Shards) -> None:
    write_text(shards.folder / FILE, yaml.safe_dump(asdict(shards), sort_keys=False))


def load_shards(folder: str | Path) -> Shards:
    """The shards in ``folder``. Raises ValueError if their file is not readable."""
    file = Path(folder) / FILE
    try:
        return Shards(**(read_yaml(file) | {"dir": str(folder)}))
    except (TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: not the {FILE} of this version ({error})") from error


def place_of(config: Any, key: str) -> Path:
    """The folder of the jobs and locks of a prediction in shards: hidden, beside its results.

    ``config`` is that of the prediction. Raises ValueError, beginning with ``key``, if there is no list to divide.
    """
    if config.outdir:
        return Path(str(config.outdir)).expanduser() / PLACE
    if not config.pairs:
        raise ValueError(f"{key}: expected a list to divide: indir= and outdir=, or pairs=")
    pairs = Path(str(config.pairs)).expanduser()
    return pairs.with_name(f".{pairs.name}{PLACE}")


def results_of(config: Any) -> str:
    """The place of the results of a prediction, for messages."""
    return f"outdir={config.outdir}" if config.outdir else f"pairs={config.pairs}"


@contextmanager
def alone(config: Any) -> Iterator[None]:
    """Hold the lock of the shard of a prediction, if it has one; SIGTERM ends the block as Ctrl-C does.

    Raises ValueError if another process holds the lock, or the results were begun with other settings.
    """
    from lama.pictures.shard import shard_of  # with torch, which the state of jobs does without

    shard, any_one = shard_of(config.shard, config.shards), partial(any_result, config)
    if shard is None:
        if config.outdir or config.pairs:
            now = settings.settings_of(config)
            settings.check_whole(place_of(config, ""), now, results_of(config), any_one)
        yield
        return
    place = place_of(config, f"shard={shard.number}")
    with held(place, shard, settings.PREDICTION) as lock:
        settings.keep(place, settings.settings_of(config), results_of(config), any_one, lock)
        yield


@contextmanager
def held(place: Path, shard: Any, kind: settings.Kind) -> Iterator[Path]:
    """Hold the lock of a ``Shard``, and yield its folder; SIGTERM ends the block as Ctrl-C does.

    Raises ValueError if another process holds it, PermissionError if ``place`` cannot be written to.
    """
    folder = place / settings.LOCKS / f"{shard.number}-of-{shard.shards}"
    check_writable(folder, "outdir")
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is half written is removed
    with only_one(folder, "shard", kind.noun, shard.number):
        yield folder

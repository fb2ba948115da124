"""Check and start the sweep of a command line: ``lama train -m sweep=NAME``."""

import itertools
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lama.config import CONFIGS, build, check_plan, choices, one_line, options_of, preflight, use_plugins
from lama.config import compose as compose_config
from lama.evaluation.metrics import metric_names
from lama.files import check_writable
from lama.machine.lock import only_one
from lama.sweeps import slurm
from lama.sweeps.launch import launch
from lama.sweeps.plan import Piece, Plan, Sweep, Work, check_same, load, save
from lama.sweeps.rows import has_values, named_rows, split_values, vary
from lama.sweeps.state import FAILED, MANY, QUEUED, RUNNING, UNFINISHED, W, say_next, states, table
from lama.verbs import typed

logger = logging.getLogger(__name__)

SWEEP_KEYS = (
    "sweep", "launcher", "name", "dir", "rows", "row", "own", "seeds", "retries", "evaluation", "material", "search",
)  # fmt: skip


def start(arguments: Sequence[str]) -> None:
    """Start a sweep, or continue it: finished, queued and running jobs are left alone.

    Raises ValueError or FileNotFoundError for a mistake, before anything is started or written.
    """
    options, arguments = options_of([argument for argument in arguments if argument not in ("-m", "--multirun")])
    known = ", ".join(choices("sweep", "sweep", options.config_dir))
    if options.help:
        keys = (CONFIGS / "sweep/default.yaml").read_text(encoding="utf-8")
        print(f"{typed('train')} -m sweep=NAME [KEY=VALUE ...]\n\nNAME is one of {known}; other keys go to every "
              f"training. These are the sweep's own (docs/cluster.md):\n\n{keys}")  # fmt: skip
        return
    ours = [one for one in arguments if one.lstrip("+~").partition("=")[0].partition(".")[0] in SWEEP_KEYS]
    if options.config_name or options.cfg:
        one = f"-cn {options.config_name}" if options.config_name else "--cfg"
        raise ValueError(f"{one}: not with -m; a configuration is a row, as in -m sweep=seeds row=demo")
    if not any(one.startswith("sweep=") for one in ours):
        raise ValueError(f"-m: expected sweep=NAME, one of {known}")
    sweep = compose(ours, [one for one in arguments if one not in ours], options.config_dir)
    rows = [compose_row(sweep, row) for row in sweep.rows]
    sweep = replace(sweep, plugins=list(dict.fromkeys(name for config in rows for name in config.plugins)))
    try:
        metric_names(sweep.evaluation["metrics"])
    except ValueError as error:
        raise ValueError(f"evaluation.{error}") from error
    for config in rows:
        check_row(config)
    if sweep.search:
        from lama.sweeps.search import check_search, search

        check_search(sweep, rows[0])
    check_data(rows)
    if sweep.launcher["name"] == "slurm":
        slurm.check(sweep.launcher)
    if not sweep.search:  # else its rows are not known yet
        check_folder(sweep)
    check_writable(sweep.folder, "dir")
    sweep.folder.mkdir(parents=True, exist_ok=True)
    with only_one(sweep.folder, "dir", "command"):
        if sweep.search:
            search(sweep, rows[0])
            return
        if check_folder(sweep):
            logger.info("dir=%s: replacing another sweep, which has trained nothing", sweep.dir)
            shutil.rmtree(sweep.folder / "jobs", ignore_errors=True)
        save(sweep)
        train_those(sweep, UNFINISHED)


def compose(ours: Sequence[str], overrides: Sequence[str], config_dir: str | None = None) -> Sweep:
    """The sweep of these overrides: ``ours`` of the sweep's own keys, ``overrides`` of every training.

    ``config_dir`` may hold configurations, groups of them, and sweeps: ``sweep/NAME.yaml``.
    """
    for one in ours:
        if re.match(r"\+*row=[^\['\"]*,", one):
            raise ValueError(f"{one}: expected one configuration; for several, rows=[A,B]")
    ours = [f"++{one}" if "={" in one and one[0] != "+" else one for one in ours]  # a mapping may have new keys
    ours = [part for one in ours for part in (("~rows", one[1:]) if one.startswith("++rows={") else (one,))]  # no list
    try:
        composed = compose_config("sweep", "default", ours, config_dir)
        config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (ValueError, OmegaConfBaseException) as error:
        raise ValueError(one_line(error).replace("++", "")) from error
    assert isinstance(config, dict)
    values = {str(name): value for name, value in config.items()}
    overrides = [*values["overrides"], *overrides]
    space = [one for one in overrides if values["search"] and has_values(one)]
    fixed, varied = split_values([one for one in overrides if one not in space])
    named = named_rows(values["rows"], values["own"])
    rows = [vary(row, choice) for row in named for choice in itertools.product(*varied)]
    values |= {
        "overrides": fixed,
        "rows": [row.name for row in rows],
        "own": {row.name: row.overrides for row in rows if row.overrides},
        "configurations": {row.name: row.configuration for row in rows if row.configuration != row.name},
        "config_dir": None if config_dir is None else str(Path(config_dir).resolve()),
        "plugins": [],
        "search": values["search"] and values["search"] | {"space": space},
    }
    return Sweep(**{name: values[name] for name in Sweep.__dataclass_fields__})


def compose_row(sweep: Sweep, row: str) -> DictConfig:
    """The configuration of a row; its plugins are imported."""
    overrides = sweep.training_overrides(Work("train", row, sweep.seeds[0]))
    try:
        config = compose_config("training", sweep.configuration(row), overrides, sweep.config_dir)
        use_plugins(config.plugins)
    except (ValueError, HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"{row}: {one_line(error)}") from error
    return config


def check_row(config: DictConfig) -> None:
    """Check the requirements of a row, without building anything."""
    check_plan(config)
    preflight(config)


def check_data(rows: Sequence[DictConfig]) -> None:
    """Open the data of every row, to raise errors about missing files early; equal data is opened once."""
    opened = []
    for config in rows:
        where = [config.data.get(key) for key in ("source", "path", "val_path", "val_pairs")]
        if where not in opened:
            build(config.data, "data")
            opened.append(where)


def check_folder(sweep: Sweep) -> bool:
    """Whether the sweep replaces another, which has trained nothing. Raises ValueError if that has trained."""
    if not (sweep.folder / "sweep.yaml").is_file():
        if sweep.folder.is_dir() and any(sweep.folder.glob("runs/*")):
            raise ValueError(f"dir={sweep.dir}: holds runs but no sweep.yaml; choose another dir=")
        return False
    before = load(sweep.folder)
    try:
        check_same(before, sweep)
    except ValueError:
        at_work = any(one.state in (RUNNING, QUEUED) for one in states(before, before.trainings()))
        if at_work or any(before.has_checkpoint(work) for work in before.trainings()):
            raise
        return True
    return False


def train_those(sweep: Sweep, which: Sequence[str]) -> None:
    """Start the trainings in one of the states ``which``, and log the next commands.

    Raises ValueError if trainings on this machine have failed.
    """
    chosen = begin(sweep, sweep.trainings(), which)
    if chosen and sweep.launcher["name"] == "slurm":
        logger.info("submitted; they run without this terminal: %s status %s", typed("sweep"), sweep.dir)
        return
    found = states(sweep, sweep.trainings())
    if chosen:
        print(table(found))
    say_next(sweep, found)
    failed = sum(one.state == FAILED for one in found if one.work in chosen)
    if failed:
        raise ValueError(f"{sweep.dir}: {failed} of {len(chosen)} trainings failed")


def begin(sweep: Plan, works: Sequence[W], which: Sequence[str]) -> list[W]:
    """Start the ``works`` in one of the states ``which``, log the others; returns the started ones."""
    found = states(sweep, works)
    chosen = [one.work for one in found if one.state in which]
    for state in sorted({one.state for one in found} - set(which)):
        logger.info("%s: %s", state, _titles([one.work for one in found if one.state == state]))
    if not chosen:
        logger.info("nothing to start in %s", sweep.folder)
        return []
    logger.info("%d to start: %s", len(chosen), _titles(chosen))
    launch(sweep, chosen)
    return chosen


def _titles(works: Sequence[Piece]) -> str:
    """The titles of jobs for a message, which stays readable for thousands."""
    more = f", ... ({len(works)} in all)" if len(works) > MANY else ""
    return ", ".join(work.title for work in works[:MANY]) + more

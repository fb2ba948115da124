"""Search for settings: Optuna proposes values through Hydra's plugin for it, and each trial is a row of the sweep.

The sampler has a fixed seed, so a search that is started again proposes the same trials: those that are done are read,
the one that was stopped goes on, and more ``trials`` continue the search.
"""

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lama.evaluation import METRICS, higher_is_better
from lama.runs.callbacks import read_metrics
from lama.sweeps.plan import Sweep, Work, save
from lama.sweeps.start import begin, check_folder, check_row, compose_row
from lama.sweeps.state import DONE, UNFINISHED, states
from lama.verbs import typed

logger = logging.getLogger(__name__)


def search(sweep: Sweep, config: DictConfig) -> None:
    """Train ``trials`` rows, one after the other, and write optimization_results.yaml; the best is logged.

    ``config`` is the training of the first row of ``sweep``, on which all trials are based. Raises ValueError for
    settings that cannot work.
    """
    metric = check_search(sweep, config)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # Optuna's storage, which is not used
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
    from optuna.samplers import TPESampler

    assert sweep.search is not None
    direction = "maximize" if higher_is_better(name_of(metric)) else "minimize"
    searching = OptunaSweeper(
        TPESampler(seed=0), direction, None, sweep.name, sweep.search["trials"], 1, 1.0, None, None, None
    )
    trials = searching.sweeper.launcher = Trials(sweep, metric)  # in place of Hydra's own launcher
    searching.sweeper.hydra_context = trials
    searching.sweeper.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep.folder)}}})
    try:
        searching.sweep(sweep.search["space"])
    except ValueError as error:
        if "No trials are completed" not in str(error):
            raise
        raise ValueError(f"{sweep.dir}: all {len(trials.sweep.rows)} trials have failed; {typed('sweep')} status "
                         f"{sweep.dir} says why") from error  # fmt: skip
    logger.info("best of %d trials: %s; the trials are ordinary runs in %s", len(trials.sweep.rows),
                sweep.folder / "optimization_results.yaml", sweep.folder / "runs")  # fmt: skip


def check_search(sweep: Sweep, config: DictConfig) -> str:
    """The logged name of the metric to improve. Raises ValueError for wrong settings and for missing packages."""
    settings = sweep.search or {}
    if any(importlib.util.find_spec(name) is None for name in ("hydra_plugins", "optuna")):
        raise ValueError("search: the package hydra-optuna-sweeper is missing: pip install '.[optuna]'")
    if not isinstance(settings["trials"], int) or settings["trials"] < 1:
        raise ValueError(f"search.trials={settings['trials']}: expected a whole number of at least 1")
    if not settings["space"] or len(sweep.rows) != 1 or sweep.launcher["name"] != "local":
        raise ValueError("search: expected one row=, launcher=local, and values to choose from, such as "
                         "\"optimizers.generator.lr=interval(1e-4,1e-2)\" or losses=A,B")  # fmt: skip
    metric = str(settings["metric"] or config.monitor)
    if name_of(metric) not in METRICS:
        known = ", ".join(f"val_{name}_total_mean" for name in config.evaluator.metrics)
        raise ValueError(f"search.metric={metric}: expected a validation metric of the training, one of {known}")
    first = replace(sweep, overrides=[*sweep.overrides, *map(_example, settings["space"])])
    check_row(compose_row(first, sweep.rows[0]))
    return metric


class Trials:
    """Hydra's launcher: trains what Optuna proposes, and returns the best value of each training."""

    def __init__(self, sweep: Sweep, metric: str) -> None:
        self.base, self.sweep, self.metric = sweep, sweep, metric
        self.rows: dict[str, list[str]] = {}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list["Trial"]:
        """Train one row for each of ``job_overrides``, one after the other."""
        return [self._train(f"trial{initial_job_idx + i:03d}", list(one)) for i, one in enumerate(job_overrides)]

    def _train(self, name: str, overrides: list[str]) -> "Trial":
        logger.info("%s: %s", name, " ".join(overrides))
        row = self.base.rows[0]
        self.rows[name] = [*self.base.own.get(row, []), *overrides]
        self.sweep = replace(
            self.base, rows=list(self.rows), own=self.rows,
            configurations=dict.fromkeys(self.rows, self.base.configuration(row)),
        )  # fmt: skip
        check_folder(self.sweep)
        save(self.sweep)
        works = [Work("train", name, seed) for seed in self.sweep.seeds]
        begin(self.sweep, works, UNFINISHED)
        failed = next((one for one in states(self.sweep, works) if one.state != DONE), None)
        if failed is not None:
            return Trial(error=f"{failed.work.title}: {failed.note or failed.state}")
        return Trial(fmean(self._best(work) for work in works))

    def _best(self, work: Work) -> float:
        values = read_metrics(self.sweep.run_dir(work) / "metrics.csv")[self.metric][1]
        return max(values) if higher_is_better(name_of(self.metric)) else min(values)


@dataclass
class Trial:
    """The result of a trial, as Hydra's plugin reads it."""

    value: float = 0.0
    error: str = ""

    @property
    def return_value(self) -> float:
        """The value. Raises ValueError for a training that has failed: the search goes on without it."""
        if self.error:
            raise ValueError(self.error)
        return self.value


def name_of(monitor: str) -> str:
    """The metric of a logged name: psnr_hole of val_psnr_hole_total_mean."""
    return monitor.removeprefix("val_").removesuffix("_total_mean")


def _example(override: str) -> str:
    """The override with one of its values."""
    one = OverridesParser.create().parse_override(override)
    value: Any = one.value()
    first = value.start if hasattr(value, "start") else value.list[0]
    return f"{one.get_key_element()}={first}"

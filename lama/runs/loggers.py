"""Where a training logs its numbers besides metrics.csv: the classes of ``logger=``, made from Lightning's loggers."""

import csv
import functools
import importlib.util
import json
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from lama.files import failed_disk, read_json, survives_a_full_disk, write_text

IDS = "logged_to.json"  # in a run folder: the names that W&B and MLflow have given to the run
MakeLogger = Callable[..., Logger]  # takes run_dir and iteration


class TensorBoard(TensorBoardLogger):
    """Event files in ``run_dir``/tensorboard. A run that is resumed at ``iteration`` hides later values.

    A full disk costs the values of that time: the writer, a thread, ends, and a new file begins.
    """

    def __init__(self, run_dir: Path, iteration: int) -> None:
        _leave_disk_errors_to_the_main_thread()
        purge = iteration + 1 if iteration else None
        super().__init__(str(run_dir), name="tensorboard", version="", purge_step=purge)

    @survives_a_full_disk("tensorboard")
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        with self._new_file_after_an_error():
            super().log_metrics(metrics, step)

    @survives_a_full_disk("tensorboard")
    def save(self) -> None:
        with self._new_file_after_an_error():
            super().save()

    @survives_a_full_disk("tensorboard")
    def finalize(self, status: str) -> None:
        with self._new_file_after_an_error():
            super().finalize(status)

    @contextmanager
    def _new_file_after_an_error(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._experiment = None
            self._kwargs.pop("purge_step", None)  # it would hide values of this start
            raise


class Csv(CSVLogger):
    """``run_dir``/csv/metrics.csv with a column for each number (``metrics.csv`` of a run has a line for each).

    A run that is resumed at ``iteration`` keeps the rows up to it.
    """

    def __init__(self, run_dir: Path, iteration: int) -> None:
        super().__init__(str(run_dir), name="csv", version="", flush_logs_every_n_steps=1)
        self.kept: list[dict[str, Any]] | None = _rows(run_dir / "csv/metrics.csv", iteration)

    @property
    def experiment(self) -> Any:
        """Lightning's writer, which removes an earlier file: its rows are written again before the first new one."""
        writer = super().experiment
        if self.kept is not None and _is_first():
            writer.metrics, self.kept = self.kept, None
        return writer

    @survives_a_full_disk("csv")
    def save(self) -> None:
        super().save()


class Wandb(WandbLogger):
    """Weights & Biases: ``options`` are arguments of ``wandb.init``. WANDB_MODE=offline writes to ``run_dir``/wandb.

    A resumed run goes on in the same run there.
    """

    def __init__(self, run_dir: Path, iteration: int, project: str = "lama", **options: Any) -> None:
        known = _recall(run_dir, "wandb", iteration)
        self.begins = known is None
        options = {"name": str(run_dir)} | options
        with _in_one_line("wandb", "WANDB_MODE=offline trains without the server"):
            super().__init__(save_dir=str(run_dir), id=known or uuid.uuid4().hex[:8], project=project, **options)
            if _is_first():
                _remember(run_dir, "wandb", str(self.experiment.id))

    @staticmethod
    def preflight(**_: Any) -> None:
        """Raise ValueError if the package is missing."""
        _need("wandb")


class MLflow(MLFlowLogger):
    """MLflow, at ``tracking_uri``: a server or ``sqlite:///FILE``. None: $MLFLOW_TRACKING_URI, else ``mlflow.db`` here.

    A resumed run goes on in the same run there.
    """

    def __init__(
        self, run_dir: Path, iteration: int, experiment: str = "lama", tracking_uri: str | None = None
    ) -> None:
        place = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
        logging.getLogger("alembic").setLevel(logging.WARNING)  # it makes the tables of a new database
        known = _recall(run_dir, "mlflow", iteration)
        self.begins = known is None
        with _in_one_line("mlflow", f"expected a server or sqlite:///FILE as logger.mlflow.tracking_uri, got {place}"):
            super().__init__(experiment, str(run_dir), place, run_id=known)
            if _is_first():
                _remember(run_dir, "mlflow", str(self.run_id))

    @staticmethod
    def preflight(**_: Any) -> None:
        """Raise ValueError if the package is missing."""
        _need("mlflow")


def make_loggers(makers: Iterable[MakeLogger], run_dir: Path, iteration: int, config: str) -> list[Logger]:
    """The loggers of a run that starts at ``iteration``. W&B and MLflow get its ``config`` (YAML) when they begin."""
    made = []
    for make in makers:
        one = make(run_dir=run_dir, iteration=iteration)
        if getattr(one, "begins", False):
            one.log_hyperparams(yaml.safe_load(config) or {})
        made.append(one)
    return made


def log_image(loggers: Iterable[Logger], name: str, image: Any, iteration: int) -> None:
    """Show ``image``, uint8 (H, W, 3), in the loggers that show images."""
    for one in loggers:
        if isinstance(one, TensorBoardLogger):
            one.experiment.add_image(name, image, iteration, dataformats="HWC")
        elif isinstance(one, WandbLogger):
            one.log_image(name, [image], iteration)
        elif isinstance(one, MLFlowLogger):
            one.experiment.log_image(one.run_id, image, f"{name}/iteration_{iteration:07d}.png")


@functools.cache  # once
def _leave_disk_errors_to_the_main_thread() -> None:
    """Threads that write files print no traceback for a full disk: the next call of their writer raises the error."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is None or failed_disk(arguments.exc_value) is None:
            before(arguments)

    threading.excepthook = hook


def _is_first() -> bool:
    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]


def _rows(file: Path, iteration: int) -> list[dict[str, Any]]:
    """The rows of Lightning's metrics.csv up to ``iteration``, without empty cells."""
    if not iteration or not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as content:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(content)]
    return [row for row in rows if int(row["step"]) <= iteration]


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"logger={package}: the package {package} is missing: pip install '.[{package}]'")


@contextmanager
def _in_one_line(name: str, advice: str) -> Iterator[None]:
    """Turn an error of a logger's package, of which there are many types, into a ValueError of one line."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"logger.{name}: {reason}; {advice}") from error


def _recall(run_dir: Path, name: str, iteration: int) -> str | None:
    """The name of this run at the logger ``name``; None for a run that begins."""
    return read_json(run_dir / IDS).get(name) if iteration else None


def _remember(run_dir: Path, name: str, identity: str) -> None:
    write_text(run_dir / IDS, json.dumps(read_json(run_dir / IDS) | {name: identity}, indent=1) + "\n")

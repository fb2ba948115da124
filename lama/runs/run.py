"""A training run from start to end, and the folder that it writes."""

import errno
import json
import logging
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger

import lama
from lama.data.check import quick_check
from lama.data.datamodule import InpaintingDataModule
from lama.files import remove_partial, write_text
from lama.machine.lock import only_one
from lama.runs.callbacks import BrokenImages, InferenceWeights, MetricsTable, SampleGrids
from lama.runs.checkpointing import Checkpoints
from lama.runs.config_changes import Request
from lama.runs.debug import Debug
from lama.runs.log_file import LogFile
from lama.runs.loggers import MakeLogger, TensorBoard, make_loggers
from lama.runs.monitor import PUBLISHED, choose_monitor
from lama.runs.non_finite_guard import NonFiniteGuard
from lama.runs.plain_progress import PlainProgress, duration
from lama.runs.precision import check_precision
from lama.runs.processes import RankWatcher, choose_processes, dead_workers_explained, ended_together
from lama.runs.provenance import note_start
from lama.runs.resume import Resumption, check_free, fits
from lama.runs.same_images import SameImages
from lama.runs.speed import Speed
from lama.runs.start_together import start_together
from lama.training.module import InpaintingModule
from lama.verbs import program, setting, typed_alike

logger = logging.getLogger(__name__)

PUBLISHED_ITERATIONS = 1_000_000
LEAST_BATCH = 20  # images a step, over all processes: issue 43 of advimman/lama


def train(
    module: InpaintingModule,
    data: InpaintingDataModule,
    trainer: dict[str, Any],  # arguments of Lightning's Trainer
    run_dir: str | Path,  # the folder to write to
    config: str,  # the resolved configuration, YAML, kept with the results
    command: str,  # the command line of this run, for config.yaml and next_steps.txt
    monitor: str = "auto",  # the validation metric that chooses the best weights, see ``choose_monitor``
    resume: Resumption | None = None,  # the checkpoint that ``find_run`` has found; None = a new run
    overwrite: bool = False,  # train into a folder that holds another run
    origin: Sequence[str] = (),  # the source of the initial weights, lines for the log
    checkpoints: Callable[..., Checkpoints] = Checkpoints,  # takes run_dir, monitor and mode
    faults: NonFiniteGuard | None = None,  # None = with its defaults
    debug: Debug | None = None,  # a short training that answers a question about this one
    loggers: Iterable[MakeLogger] = (TensorBoard,),  # of ``lama.runs.loggers``
) -> Path:
    """Train, and return the run folder: config.yaml, metrics.csv, curves.png, samples/, checkpoints/, models/.

    Raises FileExistsError where ``run_dir`` holds a run already, ValueError for settings that cannot work, and
    ``Stopped``, a SystemExit, where a signal has stopped the training after a checkpoint.
    """
    quieten_lightning()
    run_dir = Path(run_dir)
    check_trainer(trainer)
    trainer, processes = choose_processes(trainer)
    if debug is not None:
        trainer = debug.prepare(trainer, data, processes.number)
    epochs = check_trainer(trainer)
    if resume is not None:
        resume.check_data(data)
    monitor, mode = choose_monitor(monitor, module.evaluator, len(data.val_pairs))
    _check(module, data, run_dir, resume is not None or overwrite, processes.number, epochs)
    data.share_machine(processes.here)
    checkpointing = checkpoints(run_dir=run_dir, monitor=monitor, mode=mode)
    begun = 0 if resume is None else resume.progress.iteration
    with _folder(run_dir, module, processes.first, begun):
        if processes.first:
            _clear(run_dir, everything=overwrite and resume is None)
            _begin(run_dir, Request(config, command), data, begun, epochs, debug is not None)
        with _log(run_dir / "train.log", processes.first):
            first = [*origin, f"precision: {trainer['precision']}"]
            _announce(first, module, data, epochs, run_dir, monitor, processes.number)
            speed = Speed(run_dir, data, every=trainer.get("log_every_n_steps", 10))
            watching = [speed, faults or NonFiniteGuard(), *([] if debug is None else debug.callbacks(run_dir))]
            samples = SampleGrids(run_dir, data.val_pairs, before=bool(origin))
            places = make_loggers(loggers, run_dir, begun, config)
            fit = _make_trainer(trainer, run_dir, data, checkpointing, [samples, *watching], places)
            explained = dead_workers_explained(data, module, checkpointing)
            with ended_together(fit, checkpointing) as watcher, explained:
                _fit(fit, module, data, resume, Request(config, command), checkpointing, watcher)
            if processes.first:
                _check_written(fit, checkpointing, run_dir)
                remove_partial(run_dir, *run_dir.glob("*/"))
                _summarise(module, data, checkpointing, run_dir, processes.number, speed.summary(processes.number))
            if debug is not None and debug.verdict:
                logger.info("%s: %s", debug.name, debug.verdict)
            logger.info("result: %s (next steps: %s)", run_dir / "models", run_dir / "next_steps.txt")
    return run_dir


def _fit(
    fit: Trainer, module: InpaintingModule, data: InpaintingDataModule, resume: Resumption | None, request: Request,
    checkpoints: Checkpoints, watcher: RankWatcher,
) -> None:  # fmt: skip
    """Train, all ranks from the place that rank 0 continues from."""
    resume, heartbeat = start_together(fit, resume, data, request)
    watcher.listen(heartbeat)
    if resume is not None:
        resume.apply(fit, data, checkpoints)
    with fits(resume):
        fit.fit(module, datamodule=data, ckpt_path=None if resume is None else resume.path, weights_only=True)


def _check_written(fit: Trainer, checkpoints: Checkpoints, run_dir: Path) -> None:
    """Raise OSError where the disk was still full at the end, and results were not written."""
    writers = [*fit.callbacks, checkpoints.files]  # type: ignore[attr-defined]
    lost = {what: why for writer in writers for what, why in getattr(writer, "lost", {}).items()}
    if lost:
        latest = "" if checkpoints.on_disk is None else f"; the latest checkpoint is of iteration {checkpoints.on_disk}"
        why = f"trained to the end, but not written: {', '.join(lost)}, {next(iter(lost.values()))}{latest}"
        raise OSError(errno.ENOSPC, f"{why}; make room, and run the same command again", str(run_dir))


@contextmanager
def _folder(run_dir: Path, module: InpaintingModule, first: bool, start: int) -> Iterator[None]:
    """Make and lock the run folder; remove it if a new run fails before its first iteration. Only ``first`` writes."""
    if not first:
        yield
        return
    fresh = not run_dir.exists()
    run_dir.mkdir(parents=True, exist_ok=True)
    with only_one(run_dir):
        try:
            yield
        except (ValueError, OSError):
            if fresh and int(module.iteration) in (0, start):  # because of an unreadable image, for example
                shutil.rmtree(run_dir)
            raise


@contextmanager
def _log(path: Path, first: bool) -> Iterator[None]:
    """Log to ``path`` too. Ranks other than the ``first`` log errors only."""
    package_logger = logging.getLogger("lama")
    package_logger.setLevel(logging.INFO if first else logging.ERROR)
    handler = LogFile(path, encoding="utf-8") if first else logging.NullHandler()
    package_logger.addHandler(handler)
    try:
        yield
    finally:
        package_logger.removeHandler(handler)
        handler.close()


def check_trainer(trainer: dict[str, Any]) -> int:
    """The number of epochs. Raises ValueError for settings that only Lightning supports."""
    if "logger" in trainer:
        raise ValueError(f"trainer.logger={trainer['logger']}: choose loggers with logger=[tensorboard,wandb], say; "
                         "logger=[] for none")  # fmt: skip
    own = next((name for name in ("callbacks", "plugins", "default_root_dir") if name in trainer), None)
    if own is not None:
        raise ValueError(f"trainer.{own}: a training sets it itself")
    for name, default in (("max_epochs", None), ("log_every_n_steps", 1)):
        value = trainer.get(name, default)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"trainer.{name}: expected a whole number of at least 1, got {value!r}")
    check_precision(trainer.get("precision"))
    if trainer.get("deterministic", False) not in (False, "warn"):
        raise ValueError(f"trainer.deterministic={trainer['deterministic']}: expected false or warn: on a GPU the "
                         "gradient of mirrored borders has no deterministic kernel")  # fmt: skip
    return int(trainer["max_epochs"])


def _make_trainer(
    trainer: dict[str, Any],
    run_dir: Path,
    data: InpaintingDataModule,
    checkpoints: Checkpoints,
    watching: list[Callback],
    loggers: list[Logger],
) -> Trainer:
    """Lightning's Trainer with all callbacks, and ``run_dir`` without half-written files of an earlier start."""
    bar = trainer.get("enable_progress_bar")
    bar = sys.stdout.isatty() if bar is None else bar
    callbacks = [
        *watching,
        *([] if bar else [PlainProgress()]),
        MetricsTable(run_dir, every=trainer.get("log_every_n_steps", 10)),
        InferenceWeights(run_dir, checkpoints.monitor, "max" if checkpoints.sign > 0 else "min"),
        BrokenImages(run_dir, data.train_set),
        SameImages(data),
        checkpoints,  # last: it stores the state of the others after they have written their files
    ]
    fit = Trainer(
        **(trainer | {"enable_progress_bar": bar}),
        callbacks=callbacks,
        plugins=[checkpoints.files],
        logger=loggers,
        default_root_dir=run_dir,
        use_distributed_sampler=False,  # ``EpochSampler`` shards by itself
    )
    if fit.is_global_zero:
        remove_partial(run_dir, *run_dir.glob("*/"))
    return fit


def quieten_lightning() -> None:
    """Hide Lightning's tips and notices; this package logs what matters."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    warnings.filterwarnings("ignore", message=r"The `srun` command is available")  # not a SLURM job


def _check(
    module: InpaintingModule, data: InpaintingDataModule, run_dir: Path, may_exist: bool, processes: int, epochs: int
) -> None:
    """Raise errors early that would only come up later; ``may_exist``: ``run_dir`` may hold a run already."""
    if module.accumulate > data.batches(processes) * epochs:
        raise ValueError(f"recipe.accumulate={module.accumulate}: this training has {data.batches(processes) * epochs} "
                         "batches in all; expected at most as many")  # fmt: skip
    crop, least = data.train_set.augment.size, int(module.generator.min_size)  # type: ignore[arg-type]
    if min(crop) < least:
        raise ValueError(f"augment.size={list(crop)}: this generator needs crops of at least {least} pixels")
    if not may_exist:
        check_free(run_dir)
    # Reading samples raises the errors about images and masks of wrong sizes before anything is written.
    areas = [float(data.train_set[0, i]["mask"].mean()) for i in range(min(10, len(data.train_set.source)))]
    if max(areas) == 0 or min(areas) == 1:
        what = "nothing" if max(areas) == 0 else "all"
        raise ValueError(f"masks: each of the first {len(areas)} masks hides {what}; choose others with masks=")


def _clear(run_dir: Path, everything: bool) -> None:
    """Remove the mark of a finished run; with ``everything`` all files of an earlier run, and no others."""
    (run_dir / "summary.json").unlink(missing_ok=True)
    if not everything:
        return
    for pattern in ("metrics.csv", "speed.csv", "provenance.json", "logged_to.json", "curves.png", "broken_images.txt",
                    "train.log", "profile.*", "samples/*.png", "models/*.safetensors", "checkpoints/*.ckpt",
                    "csv/metrics.csv", "tensorboard/events.*"):  # fmt: skip
        for path in run_dir.glob(pattern):
            path.unlink()


def _begin(
    run_dir: Path, request: Request, data: InpaintingDataModule, iteration: int, epochs: int, debug: bool
) -> None:
    """Write config.yaml, which other ranks read at the start, provenance.json and next_steps.txt."""
    write_text(run_dir / "config.yaml", request.text())
    note_start(run_dir, request.command, data, iteration, request.config)
    plugins = (yaml.safe_load(request.config) or {}).get("plugins") or []
    write_text(run_dir / "next_steps.txt", next_steps(run_dir, request.command, epochs, debug, plugins))


def _announce(
    first: Sequence[str],  # lines
    module: InpaintingModule,
    data: InpaintingDataModule,
    epochs: int,
    run_dir: Path,
    monitor: str,
    processes: int,
) -> None:
    """Log ``first``, the networks, the data and its problems, the length of the training and its folder."""
    for line in (*first, *describe(module, data, processes)):
        logger.info(line)
    logger.info("best weights: by %s%s", monitor, "" if monitor == PUBLISHED else f" (published: {PUBLISHED})")
    iterations = data.batches(processes) * epochs
    if module.second_generator_forward and iterations < PUBLISHED_ITERATIONS // 10:  # recipe=official
        logger.warning("warning: the published training makes %s iterations of 30 images, this one %s; "
                       "data.epoch_batches=25000 makes epochs as long as its own", f"{PUBLISHED_ITERATIONS:,}",
                       f"{iterations:,}")  # fmt: skip
    logger.info("training %s epochs, about %s iterations, into %s", epochs, iterations, run_dir)


def describe(module: InpaintingModule, data: InpaintingDataModule, processes: int) -> Iterator[str]:
    """Lines on the networks, the data and its problems, the batch size and the losses."""
    parameters = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (module.generator, module.discriminator)]
    yield "generator {:.2f} M parameters, discriminator {:.2f} M".format(*parameters)
    yield f"data: {data.describe(processes)}"
    images = data.train_set
    found = quick_check(images.source, data.val_pairs, min(images.augment.size), images.masks, data.white)
    yield from (f"warning: data: {problem}" for problem in found.problems)
    yield f"batch size: {_batch_size(module, data, processes)}"
    if data.sampler.share(processes) < data.batch_size:
        yield f"warning: an epoch has {data.sampler.share(processes)} samples on each process, fewer than a batch"
    if data.batch_size * processes < LEAST_BATCH:  # accumulated batches do not count: BatchNorm sees one at a time
        few = f"batches of {data.batch_size * processes} are" if module.accumulate > 1 else "batch size"
        yield f"warning: {few} under {LEAST_BATCH}: the authors saw quality fall (BatchNorm sees few images)"
    yield f"losses: {', '.join(module.objective.terms)}"


def _batch_size(module: InpaintingModule, data: InpaintingDataModule, processes: int) -> str:
    """The images of an update, with their batches and processes where there are several."""
    number, one = module.accumulate, data.batch_size
    each = f"{one} on each of {processes} processes" if processes > 1 else f"{one}"
    if number == 1:
        return f"{one * processes}" + (f" ({each})" if processes > 1 else "")
    sees = f"; BatchNorm sees {one}" if processes == 1 else ""
    return f"{one * processes * number} images of an update = {number} batches of {each}{sees}"


def _summarise(
    module: InpaintingModule,
    data: InpaintingDataModule,
    checkpoints: Checkpoints,
    run_dir: Path,
    processes: int,
    rates: dict[str, float],  # of ``Speed``
) -> None:
    """Write the size, duration and speed of this run to summary.json."""
    seconds = checkpoints.state_dict()["seconds"]
    device = module.device.type
    gpu = torch.cuda.get_device_name() if device == "cuda" else device
    summary = {
        "iterations": int(module.iteration),
        "seconds": round(seconds),
        "duration": duration(seconds),
        "precision": module.trainer.precision,
        "device": f"{torch.get_num_threads()} CPU threads" if device == "cpu" else gpu,
        "parameters": sum(p.numel() for p in module.generator.parameters()),
        "images": data.sampler.length,
        "batch_size": data.batch_size,
        "processes": processes,
        "losses": list(module.objective.terms),
        **rates,
        "lama": lama.__version__,
        "torch": torch.__version__,
    }
    write_text(run_dir / "summary.json", json.dumps(summary, indent=2) + "\n")
    logger.info("trained %s iterations in %s, all starts of this run together", summary["iterations"],
                summary["duration"])  # fmt: skip
    if rates:
        logger.info("speed: %s images a second, %.1f %% of the time waiting for images",
                    rates["images_per_second"], 100 * rates["data_wait"])  # fmt: skip


def next_steps(run_dir: Path, command: str, epochs: int, debug: bool = False, plugins: Sequence[str] = ()) -> str:
    """The commands that continue, evaluate and use this run; after a ``debug`` run, the training itself.

    Those for other verbs than ``train`` name the ``plugins`` of the run.
    """
    plain = _with(command, without=("resume", "debug"))
    own_code = " " + shlex.quote(f"plugins=[{','.join(plugins)}]") if plugins else ""
    report, evaluate, predict = (typed_alike(command, verb) for verb in ("report", "evaluate", "predict"))
    run, model = setting("run", run_dir), setting("model.path", run_dir)
    events, out = shlex.quote(f"{run_dir}/tensorboard"), setting("outdir", f"{run_dir}/evaluation")
    own = _with(plain, "data=folder", "data.path=IMAGES", "run_dir=runs/mine")
    again = ["# tried by", command, "# train it", plain] if debug else [
        "# trained by (resumes where it was stopped)", command,
        "# train twice as long", _with(plain, f"trainer.max_epochs={2 * epochs}"),
    ]  # fmt: skip
    return "\n".join(
        [
            *again,
            "# train on your own images, any folder of them", own,
            "# watch the curves", f"tensorboard --logdir {events}",
            "# a page with images, curves and a table, once it is trained", f"{report} {run}{own_code}",
            "# evaluate on a folder of name.png + name_mask000.png",
            f"{evaluate} {model} indir=PAIRS {out}{own_code}",
            "# remove things from your own images, given as name.png + name_mask000.png (white = remove)",
            f"{predict} {model} indir=IMAGES outdir=RESULTS{own_code}",
            "",
        ]
    )  # fmt: skip


def _with(command: str, *overrides: str, without: tuple[str, ...] = ()) -> str:
    """``command`` with ``overrides`` in place of its own for the same keys, without the keys ``without`` and below."""
    keys = {override.partition("=")[0] for override in overrides}
    kept = [
        argument for argument in shlex.split(command)
        if not _replaced(argument.partition("=")[0], keys) and re.split(r"[.=]", argument)[0] not in without
    ]  # fmt: skip
    return " ".join([shlex.join(kept), *overrides])


def _replaced(key: str, keys: set[str]) -> bool:
    return key in keys or ("data.path" in keys and key.startswith("data.path."))


def command_line(argv: list[str]) -> str:
    """The command as typed, quoted for a shell, without ``overwrite=``."""
    return shlex.join([*program(argv[0]), *(a for a in argv[1:] if not a.startswith("overwrite="))])

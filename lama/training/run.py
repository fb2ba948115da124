"""A training run from start to end, and the folder it leaves."""

import json
import logging
import os
import shlex
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

import lama
from lama.data.check import quick_check
from lama.data.datamodule import InpaintingDataModule
from lama.files import whole
from lama.training.callbacks import BrokenPictures, InferenceWeights, MetricsTable, SampleGrids
from lama.training.module import InpaintingModule
from lama.training.monitor import PREFERRED, choose_monitor

logger = logging.getLogger(__name__)


def train(
    module: InpaintingModule,
    data: InpaintingDataModule,
    trainer: dict[str, Any],  # arguments of Lightning's Trainer
    run_dir: str | Path,  # where everything is written
    config: str,  # the resolved configuration, YAML, kept beside the results
    command: str,  # the command line of this run, for the text on how to go on
    monitor: str = "auto",  # what "best" means: a validation metric, as ``choose_monitor`` knows it
    resume: str | None = None,  # a checkpoint of Lightning's, to continue from
    overwrite: bool = False,  # train into a folder that holds another run
    origin: Sequence[str] = (),  # where the weights come from, in lines for the log
) -> Path:
    """Train, and return the run folder: config.yaml, metrics.csv, curves.png, samples/, checkpoints/, models/.

    Raises FileNotFoundError where ``resume`` is no file, FileExistsError where ``run_dir`` holds a run already,
    ValueError where ``monitor`` is not measured.
    """
    _quieten_lightning()
    run_dir = Path(run_dir)
    epochs = trainer.get("max_epochs")
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"trainer.max_epochs: expected a whole number of at least 1, got {epochs!r}")
    monitor, mode = choose_monitor(monitor, module.evaluator, len(data.val_pairs))
    _check(module, data, run_dir, resume is not None or overwrite)
    if resume is not None:
        _check_checkpoint(resume, epochs)
    fresh = not run_dir.exists()
    run_dir.mkdir(parents=True, exist_ok=True)
    if overwrite and resume is None:
        _remove_previous(run_dir)
    (run_dir / "config.yaml").write_text(config)
    (run_dir / "next_steps.txt").write_text(next_steps(run_dir, command, epochs))
    handler = logging.FileHandler(run_dir / "train.log")
    package_logger = logging.getLogger("lama")
    package_logger.setLevel(logging.INFO)
    package_logger.addHandler(handler)
    for line in origin:
        logger.info(line)
    _announce(module, data, trainer, run_dir, monitor)
    started = time.monotonic()
    fit = _make_trainer(trainer, run_dir, data, monitor, mode)
    try:
        fit.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    except (ValueError, OSError):
        if fresh and not (run_dir / "models").exists():  # a picture that cannot be read, say: leave no empty run
            shutil.rmtree(run_dir)
        raise
    else:
        _summarise(module, data, time.monotonic() - started, run_dir)
        logger.info("result: %s (how to go on: %s)", run_dir / "models", run_dir / "next_steps.txt")
    finally:
        package_logger.removeHandler(handler)
        handler.close()
    return run_dir


def _make_trainer(
    trainer: dict[str, Any], run_dir: Path, data: InpaintingDataModule, monitor: str, mode: str
) -> Trainer:
    """Lightning's Trainer with everything that writes into the run folder."""
    checkpoint = ModelCheckpoint(
        run_dir / "checkpoints", "epoch={epoch:04d}", monitor, save_last=True, mode=mode,
        auto_insert_metric_name=False,
    )  # fmt: skip
    callbacks = [
        MetricsTable(run_dir),
        SampleGrids(run_dir, data.val_pairs),
        InferenceWeights(run_dir, monitor, mode),
        BrokenPictures(run_dir, data.train_set),
        checkpoint,
    ]
    return Trainer(
        **trainer,
        callbacks=callbacks,
        logger=TensorBoardLogger(str(run_dir), name="tensorboard", version=""),
        default_root_dir=run_dir,
        use_distributed_sampler=False,  # ours shards by itself
    )


def _quieten_lightning() -> None:
    """Keep its tips and notices off the screen; what a run needs to say, we say."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*")


def _check(module: InpaintingModule, data: InpaintingDataModule, run_dir: Path, may_exist: bool) -> None:
    """Refuse what would only fail later; ``may_exist`` is whether a run may lie in ``run_dir`` already."""
    crop, least = data.train_set.augment.size, int(module.generator.min_size)  # type: ignore[arg-type]
    if min(crop) < least:
        raise ValueError(f"augment.size={list(crop)}: this generator needs crops of at least {least} pixels")
    if not may_exist and (run_dir / "models").exists():
        raise FileExistsError(
            f"run_dir={run_dir}: holds a trained run already; continue it with resume={run_dir}/checkpoints/last.ckpt, "
            "choose another run_dir=, or replace it with overwrite=true"
        )
    # Pictures of the wrong size, masks that do not fit, hide nothing or all: say so before anything is written.
    areas = [float(data.train_set[0, i]["mask"].mean()) for i in range(min(10, len(data.train_set.source)))]
    if max(areas) == 0 or min(areas) == 1:
        raise ValueError(f"masks: each of {len(areas)} that were drawn hides {'nothing' if max(areas) == 0 else 'all'}")


def _check_checkpoint(path: str, epochs: int) -> None:
    """Raise where ``path`` is not a checkpoint of a training."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"resume={path}: no such checkpoint; expected RUN/checkpoints/last.ckpt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        complete = {"state_dict", "optimizer_states", "loops"} <= content.keys()
    except Exception as error:  # torch raises errors of many kinds for a damaged file
        raise ValueError(
            f"resume={path}: not the state of a training here, or a damaged one ({type(error).__name__}); expected "
            "RUN/checkpoints/last.ckpt; init_from= starts from the weights of other checkpoints"
        ) from error
    if not complete:
        raise ValueError(
            f"resume={path}: holds no state of a training; expected RUN/checkpoints/last.ckpt; init_from= starts from "
            "the weights of other checkpoints"
        )
    done = content["epoch"] + 1  # written at the end of its epoch
    if done >= epochs:
        raise ValueError(f"resume={path}: has trained all of its {done} epochs; raise trainer.max_epochs={epochs}")


def _remove_previous(run_dir: Path) -> None:
    """Remove what a training writes, and nothing else, from the folder of an earlier run."""
    for pattern in ("metrics.csv", "curves.png", "train.log", "samples/*.png", "models/*.safetensors",
                    "checkpoints/*.ckpt", "tensorboard/events.*"):  # fmt: skip
        for path in run_dir.glob(pattern):
            path.unlink()


def _announce(
    module: InpaintingModule, data: InpaintingDataModule, trainer: dict[str, Any], run_dir: Path, monitor: str
) -> None:
    """Say what will happen, and where the result will lie."""
    parameters = {
        name: sum(p.numel() for p in network.parameters()) / 1e6
        for name, network in (("generator", module.generator), ("discriminator", module.discriminator))
    }
    epochs = trainer["max_epochs"]
    iterations = len(data.train_dataloader()) * epochs
    logger.info("generator %.2f M parameters, discriminator %.2f M", *parameters.values())
    logger.info("data: %s, batch size %d", data.describe(), data.batch_size)
    findings = quick_check(data.train_set.source, data.val_pairs, min(data.train_set.augment.size))
    for problem in findings.problems:
        logger.warning("data: %s", problem)
    logger.info("losses: %s", ", ".join(module.objective.terms))
    published = f"val_{PREFERRED[0]}_total_mean"
    logger.info("best weights: by %s%s", monitor, "" if monitor == published else f" (published: {published})")
    logger.info("training %s epochs, about %s iterations, into %s", epochs, iterations, run_dir)


def _summarise(module: InpaintingModule, data: InpaintingDataModule, seconds: float, run_dir: Path) -> None:
    """Write what a person would say of this run to summary.json."""
    device = module.device.type
    summary = {
        "iterations": int(module.iteration),
        "seconds": round(seconds),
        "duration": _duration(seconds),
        "device": f"{torch.get_num_threads()} CPU threads" if device == "cpu" else _gpu(device),
        "parameters": f"{sum(p.numel() for p in module.generator.parameters()):,}",
        "pictures": data.sampler.length,
        "batch_size": data.batch_size,
        "losses": list(module.objective.terms),
        "lama": lama.__version__,
        "torch": torch.__version__,
    }
    with whole(run_dir / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n")
    logger.info("trained %s iterations in %s", summary["iterations"], summary["duration"])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _gpu(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def next_steps(run_dir: Path, command: str, epochs: int) -> str:
    """The exact commands to go on from this run."""
    return "\n".join(
        [
            "# trained by", command,
            "# train twice as long, from where it stopped",
            _with(command, f"resume={run_dir}/checkpoints/last.ckpt", f"trainer.max_epochs={2 * epochs}",
                  without=("init_from", "init_parts")),
            "# train on your own pictures, any folder of them",
            _with(command, "data=folder", "data.path=PICTURES", "run_dir=runs/mine", without=("resume",)),
            "# watch the curves", f"tensorboard --logdir {run_dir}/tensorboard",
            "# a page with pictures, curves and a table", f"python bin/report.py run={run_dir}",
            "# evaluate on a folder of name.png + name_mask000.png",
            f"python bin/evaluate.py model.path={run_dir} indir=PAIRS outdir={run_dir}/evaluation",
            "# remove things from your own pictures, given as name.png + name_mask000.png (white = remove)",
            f"python bin/predict.py model.path={run_dir} indir=PICTURES outdir=RESULTS",
            "",
        ]
    )  # fmt: skip


def _with(command: str, *overrides: str, without: tuple[str, ...] = ()) -> str:
    """``command`` with these overrides in place of its own of the same keys, and ``without`` some."""
    keys = {override.partition("=")[0] for override in overrides} | set(without)
    kept = [argument for argument in shlex.split(command) if argument.partition("=")[0] not in keys]
    return f"{shlex.join(kept)} {' '.join(overrides)}"


def command_line(argv: list[str]) -> str:
    """The command that was typed, quoted for a shell, without the permission to overwrite."""
    return shlex.join(["python", os.path.relpath(argv[0]), *(a for a in argv[1:] if not a.startswith("overwrite="))])

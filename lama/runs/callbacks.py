"""Files that a run writes during training: metrics, curves, sample grids, weights for inference."""

import csv
import logging
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lama.checkpoints import save_generator
from lama.data.datasets import TrainingDataset
from lama.data.sources import evenly_spaced
from lama.evaluation.plots import panels
from lama.files import atomic_write, survives_a_full_disk, write_text
from lama.interfaces import EvaluationSet
from lama.machine.ranks import rank_and_world
from lama.pictures.images import image_to_tensor, mask_to_tensor, write_image
from lama.runs.loggers import log_image
from lama.runs.speed import RESUMED
from lama.training.averaging import any_of
from lama.training.module import InpaintingModule

logger = logging.getLogger(__name__)

COLOURS = {"train": "#1d4ed8", "val": "#c2410c", "speed": "#4d7c0f"}


class MetricsTable(Callback):
    """Append logged numbers to ``metrics.csv`` (iteration, name, value) and draw ``curves.png``.

    A checkpoint stores the length of the table. A resumed run truncates the table to it, and computes later rows again.
    Rows that a full disk refuses are kept, in checkpoints too, and written with the next ones.
    """

    def __init__(self, run_dir: Path, every: int = 10) -> None:
        self.path = run_dir / "metrics.csv"
        self.every = every
        self.drawn = -math.inf
        self.length: int | None = None  # bytes of the table that are whole rows; None before the first start
        self.unwritten = ""  # rows

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists() or self.length is None:
            self.path.write_text("iteration,name,value\n", encoding="utf-8")
        elif self.path.stat().st_size >= self.length:
            os.truncate(self.path, self.length)
        else:
            logger.warning("%s: shorter than at the time of the checkpoint; new rows are appended", self.path)
        self.length = self.path.stat().st_size

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        if int(module.iteration) % self.every == 0:  # type: ignore[arg-type]
            # A skipped batch logs nothing else; Lightning would repeat the values of the batch before.
            self._append(trainer, module, "train_skipped" if outputs else "train_")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.sanity_checking and trainer.is_global_zero:
            self._append(trainer, module, "val_")
            if time.monotonic() - self.drawn > 60:  # a plot takes seconds, and so may an epoch
                self._draw()

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            self._write()
            self._draw()

    def state_dict(self) -> dict[str, Any]:
        return {"length": self.length, "unwritten": self.unwritten}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.length, self.unwritten = state_dict["length"], state_dict.get("unwritten", "")

    @survives_a_full_disk("curves.png")
    def _draw(self) -> None:
        draw_curves([self.path, self.path.with_name("speed.csv")], self.path.with_name("curves.png"))
        self.drawn = time.monotonic()

    def _append(self, trainer: Trainer, module: LightningModule, prefix: str) -> None:
        """Append a row for each logged number. The name of a number starts with ``prefix``; rows are sorted by name.

        Lightning's own order depends on the first batch: if that is skipped, a resumed run would write another table.
        """
        if not trainer.is_global_zero:
            return
        rows = sorted((n, f"{float(v):.6g}") for n, v in trainer.callback_metrics.items() if n.startswith(prefix))
        self.unwritten += "".join(f"{int(module.iteration)},{name},{value}\n" for name, value in rows)  # type: ignore[arg-type]
        self._write()

    @survives_a_full_disk("metrics.csv")
    def _write(self) -> None:
        with self.path.open("ab") as file:
            if self.length is not None and file.tell() > self.length:  # half a row that a full disk has taken
                file.truncate(self.length)
            file.write(self.unwritten.encode())
        self.length, self.unwritten = self.path.stat().st_size, ""


class SampleGrids(Callback):
    """Write an image of a few validation pairs after every validation: truth, masked, raw prediction, completed.

    ``before``: write one before the first step too, of the network that a fine-tuning starts from.
    """

    def __init__(self, run_dir: Path, pairs: EvaluationSet, before: bool = False, count: int = 4) -> None:
        self.folder = run_dir / "samples"
        self.pairs = evenly_spaced(pairs, count)
        self.before = before

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.before and trainer.is_global_zero and int(module.iteration) == 0:  # type: ignore[arg-type]
            network: Any = module.inference_generator
            mode = network.training
            network.eval()
            self._write(trainer, module)
            network.train(mode)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.sanity_checking and trainer.is_global_zero:
            self._write(trainer, module)

    @torch.no_grad()
    @survives_a_full_disk("samples")
    def _write(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, InpaintingModule)
        rows = []
        for pair in self.pairs:
            image = image_to_tensor(pair.image)[None].to(module.device)
            mask = mask_to_tensor(pair.mask)[None].to(module.device)
            predicted, completed = module.complete(image, mask)
            rows.append(torch.cat([image, image * (1 - mask), predicted, completed], dim=3)[0])
        grid = stack_rows(rows)
        write_image(self.folder / f"iteration_{int(module.iteration):07d}.png", grid)
        log_image(trainer.loggers, "samples", grid, int(module.iteration))


class InferenceWeights(Callback):
    """Write ``models/last.safetensors`` and, by ``monitor``, ``models/best.safetensors`` after every validation.

    With averaged weights, these files hold the averages, and ``last_raw.safetensors`` the weights of the last step.
    """

    def __init__(self, run_dir: Path, monitor: str, mode: str) -> None:
        self.folder = run_dir / "models"
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.best: float | None = None
        self.pending: float | None = None  # value of the latest validation while its weights are not written

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.sanity_checking and trainer.is_global_zero:
            self._write(module, float(trainer.callback_metrics[self.monitor]))

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Try again to write weights that did not fit on a full disk; no validation follows that would."""
        if trainer.is_global_zero and self.pending is not None:
            self._write(module, self.pending)

    @survives_a_full_disk("models")
    def _write(self, module: LightningModule, value: float) -> None:
        assert isinstance(module, InpaintingModule)
        self.pending = value
        info = {"iteration": int(module.iteration), self.monitor: value}
        save_generator(self.folder / "last.safetensors", module.inference_generator, info)
        if module.average is not None:
            save_generator(self.folder / "last_raw.safetensors", module.generator, info)
        better = self.best is None or (math.isfinite(value) and self.sign * value > self.sign * self.best)
        if better or not math.isfinite(self.best or 0.0):  # a value that is not finite is replaced by any other
            save_generator(self.folder / "best.safetensors", module.inference_generator, info)
            self.best = value
        self.pending = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "monitor": self.monitor, "pending": self.pending}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pending = state_dict["pending"]
        if state_dict["monitor"] == self.monitor:
            self.best = state_dict["best"]
        else:
            logger.warning("monitor=%s: chooses the best weights anew; it was %s", self.monitor, state_dict["monitor"])


class BrokenImages(Callback):
    """After each epoch, write the paths and errors of the images that were replaced to ``broken_images.txt``."""

    def __init__(self, run_dir: Path, dataset: TrainingDataset) -> None:
        self.file = run_dir / "broken_images.txt"
        self.dataset = dataset
        self.known: dict[int, str] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"broken": self.dataset.broken.nonzero().flatten().tolist()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        within = [index for index in state_dict["broken"] if index < len(self.dataset.broken)]
        self.dataset.broken[within] = True  # found in an epoch that was interrupted

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.dataset.broken |= any_of(self.dataset.broken)
        if int(self.dataset.broken.sum()) == len(self.known) or rank_and_world()[0] > 0:
            return
        reasons = self.dataset.broken_images()
        new = [reason for index, reason in reasons.items() if index not in self.known]
        self.known = reasons
        total = len(self.dataset.source)
        logger.warning("%d of %d images cannot be used and were replaced, %d new", len(reasons), total, len(new))
        for reason in new:
            logger.warning("  %s", reason)
        before = self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []
        write_text(self.file, "".join(f"{line}\n" for line in sorted({*before, *reasons.values()})))


def stack_rows(rows: list[Tensor]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Stack tensors (3, H_i, W_i) in [0, 1] vertically to uint8 (H, W, 3); narrower ones are padded with white."""
    width = max(row.shape[2] for row in rows)
    padded = [torch.nn.functional.pad(row, (0, width - row.shape[2], 0, 4), value=1.0) for row in rows]
    grid = torch.cat(padded, dim=1).clamp(0, 1).mul(255).round().byte()
    return grid.permute(1, 2, 0).cpu().numpy()


def read_metrics(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """``metrics.csv`` -> {name: (iterations, values)}."""
    series: dict[str, tuple[list[int], list[float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            iterations, values = series.setdefault(row["name"], ([], []))
            iterations.append(int(row["iteration"]))
            values.append(float(row["value"]))
    return series


def draw_curves(tables: Sequence[Path], out: Path) -> None:
    """One plot per metric (validation: overall mean); dashed lines mark resumes."""
    every = {name: values for table in tables if table.is_file() for name, values in read_metrics(table).items()}
    resumed, _ = every.pop(RESUMED, ([], []))
    every = dict(sorted(every.items(), key=lambda item: not item[0].startswith("val_")))  # validation first
    series = {n: values for n, values in every.items() if not n.startswith("val_") or n.endswith("_total_mean")}

    def draw(axis: Any, index: int) -> str:
        name, (iterations, values) = list(series.items())[index]
        few = "." if len(values) < 20 else None  # a line of one point is invisible
        axis.plot(iterations, values, color=COLOURS[name.partition("_")[0]], linewidth=1.2, marker=few)
        for iteration in resumed:
            axis.axvline(iteration, color="#9ca3af", linestyle="--", linewidth=0.8)
        return name

    image = panels(len(series), draw)
    if image is not None:
        with atomic_write(out) as partial:
            partial.write_bytes(image)

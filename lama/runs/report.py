"""The report of a training as a page: images, curves, a table, and the next commands."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lama.data.datamodule import InpaintingDataModule
from lama.data.evaluation_set import PairFolder, write_pairs
from lama.data.sources import evenly_spaced
from lama.evaluation import METRICS, Evaluator
from lama.evaluation.baselines import BASELINES
from lama.evaluation.metrics import arrow
from lama.evaluation.tables import about, best_method, format_cell, markdown_table
from lama.files import write_text
from lama.inference import load
from lama.interfaces import EvaluationSet, ImageArray, MaskArray
from lama.pages import data_url, image_url, render, with_hole
from lama.pictures.images import image_to_tensor, mask_to_tensor, write_image

logger = logging.getLogger(__name__)
Fill = Callable[[ImageArray, MaskArray], ImageArray]
PROTOCOL = "protocol lama: 8-bit images; SSIM with zero padding; *_hole inside the mask only"
IMAGES = 6  # number of pairs on the page


def make_report(run_dir: str | Path, data: InpaintingDataModule, device: str = "auto") -> Path:
    """Evaluate the run's last weights and the classical baselines on its validation pairs, and write ``report.html``.

    Also writes into ``run_dir``: evaluation_set/ (the pairs), predictions/<method>/, metrics.json (the table).
    Raises FileNotFoundError where the run has no model or no summary.json.
    """
    run_dir = Path(run_dir)
    summary_path = run_dir / "summary.json"
    if not summary_path.is_file():
        raise FileNotFoundError(f"{summary_path}: no such file; a training writes it when it ends")
    summary = json.loads(summary_path.read_text())
    # The last weights, because the best ones were selected on these images.
    model = load(run_dir / "models" / "last.safetensors", device, strategy="full", fast=False)
    methods: dict[str, Fill] = {"LaMa (this run)": model} | BASELINES
    write_pairs(data.val_pairs, run_dir / "evaluation_set")
    evaluator = Evaluator([name for name in METRICS if METRICS[name].in_report], grouping="none")
    table = {name: _evaluate(evaluator, name, fill, data.val_pairs, run_dir) for name, fill in methods.items()}
    what = {"evaluation_set": PairFolder(run_dir / "evaluation_set").hashes(), "images": len(data.val_pairs)}
    content = about(what, evaluator) | {"methods": table}
    write_text(run_dir / "metrics.json", json.dumps(content, indent=2) + "\n")
    write_text(run_dir / "report.html", _render(run_dir, summary, table, _examples(data.val_pairs, methods)))
    logger.info("\n%s\nreport: %s", markdown_table(table), run_dir / "report.html")
    return run_dir / "report.html"


def _evaluate(
    evaluator: Evaluator, name: str, fill: Fill, pairs: EvaluationSet, run_dir: Path
) -> dict[str, dict[str, Any]]:
    evaluator.reset()
    folder = run_dir / "predictions" / "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_")
    for pair in tqdm(pairs, desc=name, unit="image"):
        completed = fill(pair.image, pair.mask)
        write_image(folder / f"{pair.name}.png", completed)
        tensors = (image_to_tensor(completed)[None], image_to_tensor(pair.image)[None])
        evaluator.update([pair.name], *tensors, mask_to_tensor(pair.mask)[None])
    return evaluator.compute()


def _examples(pairs: EvaluationSet, methods: dict[str, Fill]) -> list[dict[str, Any]]:
    """Evenly spaced pairs with the result of every method; images as data URLs."""
    return [
        {
            "name": pair.name.rsplit("_crop", 1)[0],
            "area": f"{pair.mask.mean():.0%}",
            "masked": image_url(with_hole(pair.image, pair.mask)),
            "truth": image_url(pair.image),
            "results": {name: image_url(fill(pair.image, pair.mask)) for name, fill in methods.items()},
        }
        for pair in evenly_spaced(pairs, IMAGES)
    ]


def _render(
    run_dir: Path, summary: dict[str, Any], table: dict[str, dict[str, dict[str, Any]]], examples: list[dict[str, Any]]
) -> str:
    first = next(iter(table.values()))
    notes = {m: result["note"] for m, result in first.items() if result.get("note") is not None}
    measured = [m for m in first if m not in notes]
    curves, steps = run_dir / "curves.png", run_dir / "next_steps.txt"
    lines = steps.read_text().splitlines() if steps.is_file() else []  # a description, then its command, in turn
    return render(
        "training",
        title=run_dir.name,
        run_dir=run_dir,
        summary=summary,
        metrics=measured,
        arrows={m: arrow(m) for m in measured},
        rows={name: {m: format_cell(results[m]) for m in measured} for name, results in table.items()},
        best={m: best_method(table, m) for m in measured},
        notes=notes,
        n=first[measured[0]]["n"],
        examples=examples,
        curves=data_url(curves.read_bytes(), "image/png") if curves.is_file() else None,
        steps=[(text.removeprefix("# "), command) for text, command in zip(lines[::2], lines[1::2], strict=False)],
        protocol=PROTOCOL,
    )

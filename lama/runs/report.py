"""The report of a training as a page: images, curves, a table, and the next commands."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lama.data.datamodule import InpaintingDataModule
from lama.data.evaluation_set import PairFolder, write_pairs
from lama.data.removals import REMOVALS, Removal
from lama.data.sources import evenly_spaced
from lama.evaluation import METRICS, Evaluator
from lama.evaluation.baselines import BASELINES
from lama.evaluation.metrics import arrow
from lama.evaluation.plots import panels
from lama.evaluation.tables import about, best_method, format_cell, markdown_table
from lama.files import check_writable, write_text
from lama.inference import load
from lama.interfaces import EvaluationSet, ImageArray, MaskArray
from lama.pages import data_url, image_url, render, with_hole
from lama.pictures.images import image_to_tensor, mask_to_tensor, write_image
from lama.runs.callbacks import read_metrics

logger = logging.getLogger(__name__)
Fill = Callable[[ImageArray, MaskArray], ImageArray]
PROTOCOL = "protocol lama: 8-bit images; SSIM with zero padding; *_hole inside the mask only"
IMAGES = 6  # number of pairs on the page


def make_report(
    run_dir: str | Path,
    data: InpaintingDataModule,
    device: str = "auto",
    others: Sequence[str | Path] = (),  # folders of runs to compare with it
    removals: Sequence[tuple[Removal, ImageArray]] = (),  # by lama-small; then it is measured too
) -> Path:
    """Evaluate the run's last weights and the classical baselines on its validation pairs, and write ``report.html``.

    Also writes into ``run_dir``: evaluation_set/ (the pairs), predictions/<method>/, metrics.json (the table).
    Raises FileNotFoundError where a run has no model or no summary.json.
    """
    run_dir, *others = (Path(run) for run in (run_dir, *others))
    check_writable(run_dir, "run")
    summaries = [_summary(run) for run in (run_dir, *others)]
    methods: dict[str, Fill] = {"LaMa (this run)": _last(run_dir, device)}
    methods |= {f"LaMa ({run.name})": _last(run, device) for run in others}
    if removals:
        methods |= {
            "lama-small": load("small", device, strategy="full", detail="off"),
            "lama-small with detail": load("small", device, strategy="full", detail="on"),
        }
    methods |= BASELINES
    write_pairs(data.val_pairs, run_dir / "evaluation_set")
    evaluator = Evaluator([name for name in METRICS if METRICS[name].in_report], grouping="none")
    table = {name: _evaluate(evaluator, name, fill, data.val_pairs, run_dir) for name, fill in methods.items()}
    what = {"evaluation_set": PairFolder(run_dir / "evaluation_set").hashes(), "images": len(data.val_pairs)}
    content = about(what, evaluator) | {"methods": table}
    write_text(run_dir / "metrics.json", json.dumps(content, indent=2) + "\n")
    page = _render([run_dir, *others], summaries, table, _examples(data.val_pairs, methods), _shown(removals))
    write_text(run_dir / "report.html", page)
    logger.info("\n%s\nreport: %s", markdown_table(table), run_dir / "report.html")
    return run_dir / "report.html"


def remove_all(folder: str | Path, device: str = "auto") -> list[tuple[Removal, ImageArray]]:
    """Remove the objects with lama-small, write ``folder``/PHOTOGRAPH.png, and return the results (H, W, 3)."""
    check_writable(Path(folder), "removals")
    inpainter, done = load("small", device), []
    for removal in tqdm(REMOVALS, desc="lama-small removes objects", unit="image"):
        done.append((removal, inpainter(removal.image(), removal.mask())))
        write_image(Path(folder) / f"{removal.photograph}.png", done[-1][1])
    logger.info("lama-small removed %s: %s", ", ".join(removal.title for removal in REMOVALS), folder)
    return done


def _summary(run: Path) -> dict[str, Any]:
    path = run / "summary.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a training writes it when it ends")
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return summary


def _last(run: Path, device: str) -> Fill:
    """The network of the last step, because the best one was selected on the images of the report."""
    return load(run / "models" / "last.safetensors", device, strategy="full", detail="off", fast=False)


def _shown(removals: Sequence[tuple[Removal, ImageArray]]) -> list[dict[str, str]]:
    return [
        {"title": removal.title, "before": image_url(removal.image(), 900), "after": image_url(result, 900)}
        for removal, result in removals
    ]


def _evaluate(
    evaluator: Evaluator, name: str, fill: Fill, pairs: EvaluationSet, run_dir: Path
) -> dict[str, dict[str, Any]]:
    """Fill every pair, write the images, and measure them."""
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
    runs: list[Path],
    summaries: list[dict[str, Any]],
    table: dict[str, dict[str, dict[str, Any]]],
    examples: list[dict[str, Any]],
    removals: list[dict[str, str]],
) -> str:
    first = next(iter(table.values()))
    notes = {m: result["note"] for m, result in first.items() if result.get("note") is not None}
    measured = [m for m in first if m not in notes]
    curves = runs[0] / "curves.png"
    return render(
        "training",
        title=runs[0].name,
        summary=summaries[0],
        others={run.name: summary for run, summary in zip(runs[1:], summaries[1:], strict=True)},
        removals=removals,
        metrics=measured,
        arrows={m: arrow(m) for m in measured},
        rows={name: {m: format_cell(results[m]) for m in measured} for name, results in table.items()},
        best={m: best_method(table, m) for m in measured},
        notes=notes,
        n=first[measured[0]]["n"],
        examples=examples,
        compared=_url(_validation_curves(runs)) if len(runs) > 1 else None,
        curves=_url(curves.read_bytes()) if curves.is_file() else None,
        steps=_steps(runs[0]),
        protocol=PROTOCOL,
    )


def _url(image: bytes | None) -> str | None:
    return None if image is None else data_url(image, "image/png")


def _validation_curves(runs: list[Path]) -> bytes | None:
    """One plot for each validation metric that all ``runs`` measured, with a line for each run."""
    measured = [read_metrics(run / "metrics.csv") for run in runs]
    names = [
        n for n in measured[0] if n.startswith("val_") and n.endswith("_total_mean") and all(n in m for m in measured)
    ]

    def draw(axis: Any, index: int) -> str:
        for run, metrics in zip(runs, measured, strict=True):
            axis.plot(*metrics[names[index]], label=run.name, linewidth=1.2, marker=".")
        axis.legend(fontsize=7)
        return names[index]

    return panels(len(names), draw)


def _steps(run_dir: Path) -> list[tuple[str, str]]:
    """(description, command) pairs of next_steps.txt."""
    path = run_dir / "next_steps.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [(text.removeprefix("# "), command) for text, command in zip(lines[::2], lines[1::2], strict=False)]

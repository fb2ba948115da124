"""Run the checks one after the other, and write the report: a page, and JSON."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

import lama
from lama.files import write_text
from lama.gpu_check import equal, speed
from lama.gpu_check.row import Row, Setup, reason
from lama.machine.device import pick_device
from lama.machine.provenance import commit, environment
from lama.pages import render

logger = logging.getLogger(__name__)

Check = Callable[[Setup], Iterator[Row]]
CHECKS: dict[str, Check] = {
    "Networks in float32, beside the CPU": equal.networks,
    "Faster formats": equal.precisions,
    "Training steps, beside the CPU": equal.trainings,
    "Memory of a training step, beside the rehearsal": speed.memory,
    "Waits of a training step, beside the rehearsal": speed.waits,
    "Speed of training": speed.training,
    "Waiting for images": speed.waiting,
    "A whole prediction, beside the CPU": equal.whole,
    "Speed of prediction": speed.prediction,
    "Prediction from CUDA graphs": speed.graphs,
}


def gpu_check(device: str, size: str, out: str | Path, checks: Mapping[str, Check] = CHECKS) -> list[str]:
    """Check ``device`` and write report.html and report.json into ``out``; returns the names of what failed.

    A check that fails is named, and the others go on. ``size`` is full, or small for a rehearsal in seconds. Raises
    ValueError for a device that this machine lacks.
    """
    if size not in ("full", "small"):
        raise ValueError(f"size={size}: expected full or small")
    setup = Setup(pick_device(device), size == "small")
    sections: list[dict[str, Any]] = []
    for title, check in tqdm(checks.items(), desc="gpu-check"):
        began = time.perf_counter()
        rows = list(_rows(check, setup))
        setup.free()
        sections.append({"title": title, "what": _what(check), "seconds": round(time.perf_counter() - began, 1),
                         "rows": [asdict(row) for row in rows]})  # fmt: skip
        for row in rows:
            logger.info("%s %s: %s", {True: "ok    ", False: "FAILED", None: "      "}[row.ok], row.name, row.value)
    about = {"lama": lama.__version__, "commit": commit(), "device": str(setup.device), "size": size, **environment()}
    failed = [f"{s['title']}: {row['name']}" for s in sections for row in s["rows"] if row["ok"] is False]
    report = {"about": about, "failed": failed, "sections": sections}
    write_text(Path(out) / "report.json", json.dumps(report, indent=2) + "\n")
    write_text(Path(out) / "report.html", render("gpu_check", **report))
    return failed


def _rows(check: Check, setup: Setup) -> Iterator[Row]:
    try:
        yield from check(setup)
    except Exception as error:  # outside of a line's own ``attempt``
        yield Row("the check itself", reason(error), "a result", False)


def _what(check: Check) -> str:
    """The first paragraph of a check's docstring, in one line."""
    return " ".join((check.__doc__ or "").split("\n\n")[0].replace("``", "").split())

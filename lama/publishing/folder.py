"""The folder that is uploaded: weights, configuration, provenance, numbers and the model card."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lama.checkpoints.identity import identify
from lama.evaluation.compare import read_folder
from lama.evaluation.metrics import METRICS, plugins_advice
from lama.files import atomic_write, check_writable, write_text
from lama.publishing.card import WEIGHTS, card
from lama.runs.trace import trace

FOLDER = "publish"  # in the folder of the run


def make_folder(run: str | Path, repo: str, licence: str, evaluations: Sequence[str | Path]) -> Path:
    """Write RUN/publish, in place of an earlier one, and return it.

    ``evaluations``: folders of ``lama evaluate`` with numbers of these weights; RUN/evaluation is taken by itself. The
    home folder of the user is written as ``~``. Raises FileNotFoundError where ``run`` is no run with weights,
    ValueError for an evaluation of other weights or with a metric of a package that is not imported, before anything is
    written.
    """
    run = Path(run).expanduser()
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"{run}: no config.yaml in it; expected the folder of a training")
    check_writable(run)
    about = identify(run)
    assert about is not None
    file = Path(about["file"])
    if file.suffix != ".safetensors":
        raise ValueError(f"{file}: expected weights of a training, models/best.safetensors")
    own = run / "evaluation"
    places = [Path(place).expanduser() for place in evaluations] or ([own] if (own / "metrics.json").is_file() else [])
    measured = _named(places, about["sha256"])
    config = (run / "config.yaml").read_text(encoding="utf-8")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8")) if (run / "summary.json").is_file() else {}
    text = card(repo, licence, about | _described(file), measured, summary, list(trace(run)))
    out = run / FOLDER
    shutil.rmtree(out, ignore_errors=True)
    with atomic_write(out / WEIGHTS) as partial:
        shutil.copyfile(file, partial)
    texts = {"README.md": text, "config.yaml": config}
    texts |= {f"evaluations/{name}.json": json.dumps(content, indent=2) + "\n" for name, content in measured.items()}
    if (run / "provenance.json").is_file():
        texts["provenance.json"] = (run / "provenance.json").read_text(encoding="utf-8")
    for name, content in texts.items():
        write_text(out / name, content.replace(str(Path.home()), "~"))
    return out


def _described(file: Path) -> dict[str, Any]:
    """The class of the generator and the information beside the weights."""
    with safe_open(file, "pt") as content:
        metadata = content.metadata() or {}
    return {"class": json.loads(metadata["generator"])["class"], "info": json.loads(metadata.get("info", "{}"))}


def _named(places: Sequence[Path], sha256: str) -> dict[str, dict[str, Any]]:
    """The content of metrics.json by a name for each evaluation: of its set, or of its folder where two are alike."""
    measured: dict[str, dict[str, Any]] = {}
    for place in places:
        content, _ = read_folder(place)
        model = content.get("model") or {}
        if model.get("sha256") != sha256:
            raise ValueError(
                f"evaluations: {place} measured {model.get('file', 'other predictions')}, not these weights"
            )
        unknown = next((metric for metric in content["overall"] if metric not in METRICS), None)
        if unknown is not None:
            advice = plugins_advice([content])
            raise ValueError(f"evaluations: {place}: {unknown} is a metric of a package of your own; {advice}")
        name = Path(content["indir"]).name
        measured[f"{name}_{len(measured)}" if name in measured else name] = content
    return measured

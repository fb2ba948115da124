"""The chain from a number back to the data: the evaluation, its weights, their training, its images."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lama.data.manifest import Manifest
from lama.files import sha256_of
from lama.runs.provenance import read_provenance
from lama.verbs import typed


def trace(place: str | Path) -> Iterator[str]:
    """Lines of text, from ``place``: a metrics.json or its folder, a run, or a file of weights in a run.

    Files that are gone or have changed since are named. Raises FileNotFoundError where there is nothing to trace.
    """
    path = Path(place).expanduser()
    metrics = path if path.name == "metrics.json" else path / "metrics.json"
    run = _run_of(path)
    if metrics.is_file() and not (metrics.parent / "config.yaml").is_file():
        yield from _of_evaluation(metrics)
    elif run is not None:
        yield from _of_run(run)
    else:
        raise FileNotFoundError(f"{path}: expected a metrics.json of {typed('evaluate')}, a run, or its weights")


def _of_evaluation(file: Path) -> Iterator[str]:
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        protocol, sets, images = about["protocol"]["name"], about["evaluation_set"], about["images"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not the metrics.json of {typed('evaluate')} ({type(error).__name__})") from error
    yield f"numbers      {file}: {', '.join(about['overall'])}; protocol {protocol}, {images} images"
    yield from _code(about)
    for name, digest in about.get("weights_sha256", {}).items():
        yield f"  metric     {name}: sha256 {digest}"
    yield f"images       {about['indir']}: set {' '.join(sets)}{_changed_set(Path(about['indir']), sets)}"
    model = about.get("model")
    if model is None:
        what = about.get("predictions_by", "predictions")
        unknown = "" if what == "baseline" else "; the network that made them is not recorded"
        yield f"predictions  {what}={about['predictions']}{unknown}"
    else:
        yield from _of_weights(model)


def _of_weights(model: Mapping[str, Any]) -> Iterator[str]:
    """A file of weights, and the run that it lies in."""
    file = Path(model["file"])
    state = "; GONE"
    if file.is_file():
        state = "" if sha256_of(file) == model["sha256"] else "; CHANGED since"
    iteration = "" if model["iteration"] is None else f", iteration {model['iteration']}"
    yield f"weights      {file}{iteration}: sha256 {model['sha256']}{state}"
    run = _run_of(file)
    if run is not None:
        yield from _of_run(run)


def _of_run(run: Path) -> Iterator[str]:
    config = (run / "config.yaml").read_text(encoding="utf-8")
    yield f"training     {run}: configuration sha256 {sha256_of(run / 'config.yaml')}"
    about = read_provenance(run)
    for start in about.get("starts", []):
        yield f"  start      at iteration {start['iteration']}: {start['command']}"
        yield from _code(start)
    data, settings = about.get("data", {}), yaml.safe_load(config)
    source = (settings.get("data") or {}).get("path") or ""
    where = ", ".join(str(part["path"]) for part in source.values()) if isinstance(source, dict) else source
    known = f"{data['images']} images" if data else "not recorded: an older run"
    known += f", fingerprint {data['fingerprint']}" if data.get("fingerprint") else ""
    yield f"data         {where or 'built-in photographs'}: {known}"
    for manifest in data.get("manifests", []):
        yield f"  validation manifest {manifest}"
    if about.get("init_from"):
        yield "begun from another model:"
        yield from _of_weights(about["init_from"])


def _code(about: Mapping[str, Any]) -> Iterator[str]:
    commit, environment = about.get("commit"), about.get("environment") or {}
    if commit:
        yield f"  code       {_commit(commit)}"
    elif "versions" in about:
        yield f"  code       lama {about['versions']['lama']}, commit not known"
    for name, package in (about.get("plugins") or {}).items():
        head = f", {_commit(package['commit'])}" if package["commit"] else ""
        yield f"  package    {name}: {package['path']}, sha256 {package['sha256']}{head}"
    if environment:
        machine = environment["gpu"] or f"{environment['machine']}, {environment['threads']} threads"
        yield f"  machine    Python {environment['python']}, torch {environment['torch']}, {machine}"


def _commit(commit: Mapping[str, Any]) -> str:
    return f"commit {commit['hash']}" + ("" if commit["clean"] else ", with changes that are not committed")


def _run_of(path: Path) -> Path | None:
    """The folder of the run that ``path`` is, or lies in."""
    return next((folder for folder in (path, *path.parents[:2]) if (folder / "config.yaml").is_file()), None)


def _changed_set(folder: Path, sets: list[str]) -> str:
    """A remark on an evaluation set that is gone, or whose manifest is another one now."""
    if not folder.is_dir():
        return "; GONE"
    now = [manifest.hash for manifest in Manifest.below(folder)]
    return "; CHANGED since" if now and now != sets else ""

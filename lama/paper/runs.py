"""Evaluations in a folder of runs: RUN/SET/metrics.json, or RUN/seed0/SET/metrics.json for each of several seeds."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lama.evaluation.metrics import weight_files
from lama.verbs import typed

LAYOUT = (
    "expected RUN/SET/metrics.json or RUN/seed0/SET/metrics.json, such as lama-fourier/random_thick_512/metrics.json, "
    f"as {typed('evaluate')} outdir=RUNS/lama-fourier/random_thick_512 writes it"
)


@dataclass(frozen=True)
class Evaluation:
    """The content of one ``metrics.json``."""

    file: Path
    run: str
    seed: int | None  # None = the run has no folders of seeds
    set_name: str
    protocol: dict[str, Any]
    evaluation_set: str  # hashes of the set
    sizes: tuple[tuple[int, int], ...]  # (H, W) of its images
    unpublished: tuple[str, ...]  # weight files that are not the published ones
    weights: dict[str, str]  # sha256 of each weight file of a metric
    about: dict[str, Any]  # the whole file
    overall: dict[str, dict[str, Any]]  # {metric: {"mean", "ci95"?, "n", "note"?}}

    @property
    def relative(self) -> str:
        """The path of the file in the folder of runs."""
        return "/".join(self.file.parts[-3 if self.seed is None else -4 :])

    def conditions(self, metric: str) -> tuple[Any, ...]:
        """Protocol, set, number of images, weight files of the metric, truth: equal where numbers are comparable."""
        protocol = json.dumps(self.protocol, sort_keys=True)
        weights = tuple(self.weights.get(name) for name in weight_files([metric]))
        n = self.overall.get(metric, {}).get("n")
        return protocol, self.evaluation_set, n, weights, self.about.get("truth")


def read_runs(folder: str | Path) -> tuple[list[Evaluation], list[Path]]:
    """Every evaluation below ``folder``, and the other files with the name metrics.json, which are not read.

    Raises FileNotFoundError for a missing folder, ValueError where it holds no evaluation or a file is malformed.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"runs={folder}: no such folder; {LAYOUT}")
    found: dict[Path, tuple[str, int | None, str]] = {}
    for file in sorted((*folder.glob("*/*/metrics.json"), *folder.glob("*/*/*/metrics.json"))):
        run, *seed, set_name = file.relative_to(folder).parts[:-1]
        if not seed:
            found[file] = (run, None, set_name)
        elif number := re.fullmatch(r"seed(\d+)", seed[0]):
            found[file] = (run, int(number[1]), set_name)
    strays = sorted(set(folder.rglob("metrics.json")) - found.keys())
    if not found:
        found_only = f", only {strays[0].relative_to(folder)}" if strays else ""
        raise ValueError(f"runs={folder}: no evaluation in it{found_only}; {LAYOUT}")
    return [read_evaluation(file, *where) for file, where in found.items()], strays


def read_evaluation(file: Path, run: str, seed: int | None, set_name: str) -> Evaluation:
    """One metrics.json. Raises ValueError if ``lama evaluate`` has not written it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        protocol, overall = dict(content["protocol"]), dict(content["overall"])
        which = " ".join(content["evaluation_set"])
        sizes = tuple((int(h), int(w)) for h, w in content["sizes"])
        unpublished = tuple(content["unpublished_weights"])
        weights = dict(content.get("weights_sha256", {}))
        str(protocol["name"])
        for metric, result in overall.items():
            _check(metric, result)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{file}: not the metrics.json of {typed('evaluate')}: {problem}") from error
    return Evaluation(file, run, seed, set_name, protocol, which, sizes, unpublished, weights, content, overall)


def _check(metric: str, result: dict[str, Any]) -> None:
    """Raise ValueError, TypeError or KeyError for a result that ``Evaluator`` does not produce."""
    mean, ends = result["mean"], result.get("ci95")
    numbers = [mean or 0.0, *(ends or (0.0, 0.0))]
    if len(numbers) != 3 or not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
        raise ValueError(f"{metric}: expected a finite mean and ci95 of two numbers, got {mean} and {ends}")
    if not isinstance(result["n"], int):
        raise ValueError(f"{metric}.n: expected a number of images, got {result['n']!r}")

"""Evaluations as a figure needs them: scores, and the images that were measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lama.data.evaluation_set import PairFolder, PredictionFolder
from lama.evaluation.baselines import BASELINES, find_baseline
from lama.evaluation.compare import read_folder
from lama.inference import load
from lama.interfaces import EvaluationPair, ImageArray
from lama.pictures.masks import MaskReader


@dataclass(frozen=True)
class Evaluated:
    """An evaluation: metrics.json, and the rows of per_image.csv by the name of the image."""

    folder: str
    about: dict[str, Any]
    rows: dict[str, dict[str, float]]


def read_all(folders: Sequence[str]) -> list[Evaluated]:
    """Evaluations of one set. Raises FileNotFoundError for another folder, ValueError for different sets."""
    if not folders:
        raise ValueError("expected folders that evaluate has written: figure OUT_A OUT_B")
    found = [Evaluated(folder, *read_folder(Path(folder).expanduser())) for folder in folders]
    for other in found[1:]:
        if (
            other.about["evaluation_set"] != found[0].about["evaluation_set"]
            or other.rows.keys() != found[0].rows.keys()
        ):
            raise ValueError(f"{found[0].folder} and {other.folder} are about different images")
    return found


def results(
    evaluations: Sequence[Evaluated], names: Sequence[str], device: str
) -> Iterator[tuple[EvaluationPair, list[ImageArray]]]:
    """Each named pair with the results of all evaluations, read from a folder or computed again.

    Raises FileNotFoundError or ValueError where the images or the model have moved.
    """
    about = evaluations[0].about
    pairs = PairFolder(
        about["indir"], None, MaskReader(**about.get("masks", {})), None, about.get("white"), about.get("truth")
    )
    complete = [_complete(one, pairs, device) for one in evaluations]
    for name in names:
        pair = pairs.named(name)
        yield pair, [fill(pair) for fill in complete]


def _complete(evaluation: Evaluated, pairs: PairFolder, device: str) -> Callable[[EvaluationPair], ImageArray]:
    """A function that gives the result of an evaluation for a pair: read, or computed again."""
    source = str(evaluation.about["predictions"])
    given = evaluation.about.get("predictions_by") or _guessed(source)
    if given == "baseline":
        fill = find_baseline(source)
        return lambda pair: fill(pair.image, pair.mask)
    if given == "predictdir":
        folder = PredictionFolder(source, pairs)
        return lambda pair: folder.read([pair])[0]
    inpainter = load(source, device, strategy="full", fast=False, detail="off")
    return lambda pair: inpainter(pair.image, pair.mask)


def _guessed(source: str) -> str:
    """The key of an evaluation that did not record it."""
    if source in {fill.__name__ for fill in BASELINES.values()}:
        return "baseline"
    folder = Path(source)
    return "predictdir" if folder.is_dir() and not (folder / "config.yaml").is_file() else "model.path"

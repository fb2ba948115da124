"""How often a metric, or one person, prefers the result that people prefer: agreement and Kendall's tau-b."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lama.evaluation.compare import read_folder
from lama.evaluation.metrics import METRICS, higher_is_better, left_out, scores_images
from lama.study.bradley_terry import resampled_sums
from lama.study.folder import Study
from lama.study.votes import Vote

Comparison = tuple[str, str, str]  # image, and two methods in the order of the study
Numbers = NDArray[np.float64]


def preferences(votes: Iterable[Vote], methods: Sequence[str]) -> dict[str, dict[Comparison, int]]:
    """{rater: {comparison: 1 for the first method, -1 for the second, 0 for a tie}}."""
    found: dict[str, dict[Comparison, int]] = {}
    for vote in votes:
        sign = {"left": 1, "right": -1, "equal": 0}[vote.vote]
        first, second = sorted((vote.left, vote.right), key=methods.index)
        comparison = (vote.image, first, second)
        found.setdefault(vote.rater, {})[comparison] = sign if first == vote.left else -sign
    return found


def sums(given: Mapping[str, Mapping[Comparison, int]]) -> dict[Comparison, int]:
    """{comparison: votes for the first method minus votes for the second}."""
    total: dict[Comparison, int] = {}
    for each in given.values():
        for comparison, sign in each.items():
            total[comparison] = total.get(comparison, 0) + sign
    return total


def agreement(pairs: Iterable[tuple[Comparison, float, float]], seed: int = 0) -> dict[str, Any]:
    """Agreement of two preferences, each a number that is positive where the first method is better.

    "agreement" is the share of equal signs among the comparisons that both decide, "n" the number of these. "tau" is
    Kendall's tau-b over the pairs of methods within images: concordant minus discordant pairs, divided by
    sqrt(pairs decided by the one * pairs decided by the other). Kendall, "The treatment of ties in ranking problems",
    Biometrika 33, 1945. "ci95" of both: 95 % percentile bootstrap over images; None where it is not defined.
    """
    images: dict[str, int] = {}
    rows = [(images.setdefault(image, len(images)), np.sign(a), np.sign(b)) for (image, _, _), a, b in pairs]
    cells = np.zeros((4, len(images)))  # concordant - discordant, decided by the one, by the other, by both
    for image, a, b in rows:
        cells[:, image] += (a * b, abs(a), abs(b), abs(a * b))
    result: dict[str, Any] = {"n": int(cells[3].sum()), "images": len(images)}
    for name, statistic in (("agreement", _share), ("tau", _tau)):
        value = float(statistic(cells.sum(axis=1)))
        result[name] = value if math.isfinite(value) else None
        result[f"{name}_ci95"] = _interval(cells, statistic, seed) if math.isfinite(value) and len(images) > 1 else None
    return result


def _interval(cells: Numbers, statistic: Callable[[Numbers], Numbers], seed: int) -> tuple[float, float] | None:
    """The percentile interval over images, the columns of ``cells``; samples without a value are left out."""
    values = statistic(resampled_sums(cells.T, seed).T)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _share(sums: Numbers) -> Numbers:
    net, _, _, both = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return (both + net) / 2 / both


def _tau(sums: Numbers) -> Numbers:
    net, one, other, _ = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return net / np.sqrt(one * other)


def of_people(given: Mapping[str, Mapping[Comparison, int]]) -> dict[str, dict[str, Any]]:
    """{rater: agreement of their votes with the sum of all others' votes}, and under "" of all raters together."""
    every, total = [], sums(given)
    found = {}
    for rater, own in given.items():
        others = {c for name, each in given.items() if name != rater for c in each}
        rows = [(c, float(total[c] - sign), float(sign)) for c, sign in own.items() if c in others]
        found[rater] = agreement(rows)
        every += rows
    return found | {"": agreement(every)}


def of_metrics(
    total: Mapping[Comparison, int], scores: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[str, Any]:
    """{metric: agreement with people} for ``scores`` {method: {image: {metric: score}}}.

    An image without a score is left out.
    """
    if not scores:
        return {}
    shared = [
        metric for metric in METRICS
        if scores_images(metric) and all(metric in next(iter(rows.values())) for rows in scores.values())
    ]  # fmt: skip
    found = {}
    for metric in shared:
        sign = 1 if higher_is_better(metric) else -1
        rows = []
        for (image, a, b), preferred in total.items():
            difference = sign * (scores[a][image][metric] - scores[b][image][metric])
            if np.isfinite(difference):
                rows.append(((image, a, b), float(preferred), difference))
        found[metric] = agreement(rows)
    return found


def read_evaluations(study: Study, folders: Sequence[str]) -> tuple[dict[str, dict[str, dict[str, float]]], list[str]]:
    """({method: {image: {metric: score}}}, remarks) of one evaluation for each method, in their order.

    Raises FileNotFoundError or ValueError for another number, an evaluation of other images, and one of the predictions
    of another method.
    """
    if isinstance(folders, str) or len(folders) != len(study.methods):
        raise ValueError(f"evaluations={folders}: expected a list of {len(study.methods)} folders of evaluate, for "
                         f"{', '.join(study.methods)} in this order")  # fmt: skip
    scores, abouts = {}, []
    for method, folder in zip(study.methods, map(str, folders), strict=True):
        about, rows = read_folder(Path(folder).expanduser())
        same_files = about["evaluation_set"] == study.evaluation_set or about.get(
            "truth"
        )  # clean plates are hashed too
        if rows.keys() != set(study.images) or not same_files:
            raise ValueError(f"evaluations: {folder}: is about other images or masks than this study of {study.indir}")
        measured = Path(str(about.get("predictions"))).expanduser().resolve()
        owner = next((name for name, place in study.folders.items() if Path(place) == measured), method)
        if owner != method:
            raise ValueError(f"evaluations: {folder}: is of {owner}, in the place of {method}; expected the order "
                             f"{', '.join(study.methods)}")  # fmt: skip
        scores[method] = rows
        abouts.append(about)
    return scores, left_out(abouts)

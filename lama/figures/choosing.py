"""Which images of an evaluation set a figure shows."""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lama.evaluation.metrics import METRICS, higher_is_better, left_out
from lama.figures.sources import Evaluated


def check_names(evaluations: Sequence[Evaluated], images: Sequence[str] | None) -> list[str] | None:
    """``images`` as a list. Raises ValueError for a name that is not in the set."""
    if images is None:
        return None
    if isinstance(images, str) or not images:
        raise ValueError(f"images={images}: expected a list of names from per_image.csv")
    known = evaluations[0].rows
    unknown = next((name for name in map(str, images) if name not in known), None)
    if unknown is not None:
        raise ValueError(f"images: {unknown!r} is not in the set; expected names of per_image.csv: {next(iter(known))}")
    return [str(name) for name in images]


def most_different(
    evaluations: Sequence[Evaluated], labels: Sequence[str], metric: str | None, count: int, say: Callable[[str], None]
) -> list[str]:
    """The names of the ``count`` images on which the first two evaluations differ most, each photograph once.

    ``say`` gets a line with the number of images on which each of the two is better. With a single evaluation the
    images are evenly spaced. Raises ValueError for a metric that was not measured for each image.
    """
    if count < 1:
        raise ValueError(f"rows={count}: expected at least 1")
    names = list(evaluations[0].rows)
    if len(evaluations) == 1:
        firsts = one_of_each_photograph(names)
        return [firsts[i] for i in np.linspace(0, len(firsts) - 1, min(count, len(firsts))).round().astype(int)]
    metric = telling(evaluations[:2], metric)
    a, b = (np.array([one.rows[name][metric] for name in names]) for one in evaluations[:2])
    differences = np.nan_to_num(np.abs(a - b), nan=-1)
    chosen = one_of_each_photograph(names[i] for i in np.argsort(-differences, kind="stable"))[:count]
    better = np.nansum((a > b) if higher_is_better(metric) else (a < b))
    worse = np.nansum((a < b) if higher_is_better(metric) else (a > b))
    say(f"images where {labels[0]} and {labels[1]} differ most by {METRICS[metric].label}: {', '.join(chosen)}")
    say(f"of all {len(names)} images {labels[0]} is better on {better}, {labels[1]} on {worse}; put it in the caption")
    return chosen


def one_of_each_photograph(names: Iterable[str]) -> list[str]:
    """The first of ``names`` of each photograph: ``a_crop001_mask000`` is of the photograph ``a``."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(re.sub(r"(_crop\d+)?(_mask\d*)?$", "", name), name)
    return list(first.values())


def telling(evaluations: Sequence[Evaluated], metric: str | None) -> str:
    """``metric``, or the one of the lowest ``example_rank`` that all have. Raises ValueError where one lacks it."""
    shared = [m for m in METRICS if all(m in next(iter(one.rows.values())) for one in evaluations)]
    if metric is None and shared:
        return min(shared, key=lambda name: METRICS[name].example_rank)
    if metric is None or metric not in shared:
        own = () if metric in METRICS else left_out([one.about for one in evaluations])
        reason = f"not measured for each image of all; was: {', '.join(shared) or 'none'}"
        raise ValueError("; ".join([f"metric={metric}: {reason}", *own]))
    return metric

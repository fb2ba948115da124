"""The rounds of one level: search for sources, then vote (Wexler et al., PAMI 2007)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lama.detail.level import UNIT, Level
from lama.detail.patchmatch import Kernel

_TRIES = 16  # random sources that a centre without a match looks at
_SPREAD = 0.3  # of the vote: a cost of so many 75th percentiles counts 1 / e as much as none
_WEIGHT, _FALL = 2**20, 2**10  # the weight 1 of a centre, and of a pixel of its patch, in integers
_CHUNK = 2**18  # centres that are improved between two calls of `check`, some tenths of a second


@dataclass(frozen=True)
class Effort:
    """How long a level is searched."""

    rounds: int  # of search and vote
    sweeps: int  # in each
    reach: int | None  # pixels around a match that random search begins with; None: the whole level


def run(
    level: Level, kernel: Kernel, effort: Effort, sharp: float, seed: int, check: Callable[[], object] = lambda: None
) -> None:
    """Search and vote, in place. ``sharp``: standard deviation in pixels of the last vote around a patch's middle.

    ``check`` is called several times a second of computation; an exception in it stops the search.
    """
    rng = np.random.default_rng(seed)
    fresh = bool((level.match.ravel()[level.centres] < 0).all())
    _begin(level, kernel, rng)
    if not fresh:
        _vote(level, kernel, level.radius)  # the coarser level's matches, seen at this one
    reach = effort.reach or max(level.hole.shape)
    for turn in range(effort.rounds):
        _measure(level, kernel)
        for _ in range(effort.sweeps):
            for first, stop in ((0, level.boundary), (level.boundary, len(level.centres))):
                draw = int(rng.integers(2**32))
                for start in range(first, stop, _CHUNK):
                    check()
                    kernel.improve(level, start, min(start + _CHUNK, stop), (1, 3), reach, draw)
        _vote(level, kernel, sharp if turn == effort.rounds - 1 else level.radius)


def _begin(level: Level, kernel: Kernel, rng: np.random.Generator) -> None:
    """A source for every centre: the given one, or the best of some random ones."""
    match = level.match.ravel()
    given = match[level.centres]
    lost = np.flatnonzero((given < 0) | (level.source.ravel()[given] == 0))
    best = np.full(len(level.centres), np.iinfo(np.int64).max)
    if len(lost):
        for _ in range(_TRIES):
            candidates = np.full(len(level.centres), -1, np.int32)
            candidates[lost] = rng.choice(level.candidates, len(lost))
            cost = kernel.costs(level, 0, len(level.centres), candidates)
            better = cost < best
            best[better], match[level.centres[better]] = cost[better], candidates[better]
    level.used[:] = np.bincount(match[level.centres], minlength=match.size).reshape(level.hole.shape)
    _measure(level, kernel)


def _measure(level: Level, kernel: Kernel) -> None:
    """Costs of the present matches under the present detail."""
    level.cost[:] = kernel.costs(level, 0, len(level.centres), level.match.ravel()[level.centres])


def _vote(level: Level, kernel: Kernel, width: float) -> None:
    """Every patch votes for the hole's pixels that it covers, by a Gaussian of ``width`` pixels around its middle."""
    costs = level.cost + level.reuse * (level.used.ravel()[level.match.ravel()[level.centres]] - 1)
    quartile = np.partition(costs, len(costs) * 3 // 4)[len(costs) * 3 // 4]
    least = UNIT**2 * (2 * level.radius + 1) ** 2 / 1000
    good = np.maximum(np.exp(-costs / (_SPREAD * max(quartile, least))), 1e-6) * level.trust
    weight = np.zeros(level.hole.shape, np.int32)
    weight.ravel()[level.centres] = np.maximum(np.rint(good * _WEIGHT), 1)
    steps = np.square(np.arange(-level.radius, level.radius + 1))
    fall = np.rint(_FALL * np.exp(-(steps[:, None] + steps) / (2 * width**2))).astype(np.int32)
    kernel.vote(level, weight, fall)
    level.mirror()

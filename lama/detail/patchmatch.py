"""PatchMatch in NumPy: equal to ``patchmatch.cpp`` byte for byte, and some twenty times slower.

Both look at candidates in the same order: matches of the neighbours at each of ``jumps`` pixels, moved along, then
random sources around the present match at ``reach`` pixels, half of it, and so on down to one. A half sweep changes the
centres of one colour of a chessboard; neighbours at an odd distance have the other colour. How often a source is used
is counted between half sweeps.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lama.detail.level import Int, Level, Long

NEVER = np.iinfo(np.int64).max
_CHUNK = 8192  # centres at a time, to bound the memory


class Kernel(Protocol):
    """What searches and votes: ``Plain`` or ``lama.detail.kernel.Compiled``."""

    def costs(self, level: Level, first: int, stop: int, candidates: Int) -> Long:
        """Of a candidate for each centre from ``first`` to ``stop``; -1 is none and costs ``NEVER``."""

    def improve(self, level: Level, first: int, stop: int, jumps: Sequence[int], reach: int, seed: int) -> None:
        """Half a sweep: better matches for these centres, all of one colour."""

    def vote(self, level: Level, weight: Int, fall: Int) -> None:
        """Write the hole's detail: the mean of the patches there, weighted by (H, W) ``weight`` x (P, P) ``fall``.

        ``level.energy`` gets the mean of its square, summed over channels.
        """


class Plain:
    """The kernel without a compiler."""

    def costs(self, level: Level, first: int, stop: int, candidates: Int) -> Long:
        result = np.full(stop - first, NEVER)
        asked = np.flatnonzero(candidates >= 0)
        for start in range(0, len(asked), _CHUNK):
            some = asked[start : start + _CHUNK]
            result[some] = _cost(level, first + some, candidates[some].astype(np.int64))
        return result

    def improve(self, level: Level, first: int, stop: int, jumps: Sequence[int], reach: int, seed: int) -> None:
        height, width = level.hole.shape
        p, m, old = level.centres[first:stop].astype(np.int64), level.match.ravel(), level.match.copy().ravel()
        used, source = level.used.ravel(), level.source.ravel()
        match = m[p].astype(np.int64)
        best = level.cost[first:stop] + level.reuse * (used[match] - 1).astype(np.int64)

        def attempt(v: NDArray[np.int64], u: NDArray[np.int64], allowed: NDArray[np.bool_]) -> None:
            q = v * width + u
            fit = np.flatnonzero(allowed & (v >= 0) & (v < height) & (u >= 0) & (u < width) & (q != match))
            fit = fit[source[q[fit]] > 0]
            taken = q[fit]
            use = level.reuse * used[taken].astype(np.int64)
            candidates = np.full(stop - first, -1, np.int32)
            candidates[fit] = taken
            cost = self.costs(level, first, stop, candidates)[fit]
            better = cost < best[fit] - use
            where = fit[better]
            best[where], match[where] = (cost + use)[better], taken[better]
            level.cost[first + where] = cost[better]

        y, x = p // width, p % width
        for d in jumps:
            for dy, dx in ((-d, 0), (0, -d), (0, d), (d, 0)):
                inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
                q = old[np.where(inside, p + dy * width + dx, 0)]
                attempt(q // width - dy, q % width - dx, inside & (q >= 0))
        own, draw = _mix(np.uint32(seed) ^ _mix(p.astype(np.uint32))), 0
        while reach >= 1:
            v = match // width + _mix(own + np.uint32(draw + 1)) % np.uint32(2 * reach + 1) - reach
            u = match % width + _mix(own + np.uint32(draw + 2)) % np.uint32(2 * reach + 1) - reach
            attempt(v, u, np.ones(len(p), bool))
            reach, draw = reach // 2, draw + 2
        np.subtract.at(used, old[p], 1)
        np.add.at(used, match, 1)
        m[p] = match

    def vote(self, level: Level, weight: Int, fall: Int) -> None:
        width, r = level.hole.shape[1], level.radius
        detail, match, weights = level.detail.reshape(-1, 4), level.match.ravel(), weight.ravel()
        total, sums = np.zeros(len(level.pixels), np.int64), np.zeros((len(level.pixels), 4), np.int64)
        for y in range(-r, r + 1):
            for x in range(-r, r + 1):
                p = level.pixels - y * width - x
                share = weights[p].astype(np.int64) * int(fall[y + r, x + r])
                total += share
                held = detail[np.maximum(match[p] + y * width + x, 0)].astype(np.int64)
                held[:, 3] = np.square(held[:, :3]).sum(1)
                sums += share[:, None] * held
        voted = total > 0
        mean = sums[voted].astype(np.float64) / total[voted, None].astype(np.float64)
        detail[level.pixels[voted], :3] = np.rint(mean[:, :3])
        level.energy.ravel()[level.pixels[voted]] = np.rint(mean[:, 3])


def _cost(level: Level, index: NDArray[np.int64], q: NDArray[np.int64]) -> Long:
    width, r = level.hole.shape[1], level.radius
    p = level.centres[index].astype(np.int64)
    low, detail = level.low.reshape(-1, 4), level.detail.reshape(-1, 4)
    colour = np.square(low[p, :3].astype(np.int64) - low[q, :3]).sum(1)
    slope = sum(
        np.square(low[p + d, :3].astype(np.int64) - low[p - d, :3] - low[q + d, :3] + low[q - d, :3]).sum(1)
        for d in (r, r * width)
    )
    far = np.sqrt((np.square(p // width - q // width) + np.square(p % width - q % width)).astype(np.float64))
    steps = np.arange(-r, r + 1)
    patch = (steps[:, None] * width + steps).ravel()
    difference = detail[p[:, None] + patch].astype(np.int32) - detail[q[:, None] + patch]
    squares = np.einsum("npc,npc->n", difference, difference, dtype=np.int64)
    return squares + level.guide * colour + level.slope * slope + (level.locality[index] * far).astype(np.int64)


def _mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A hash of 32 bits (C. Wellons's lowbias32)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))

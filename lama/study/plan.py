"""Who compares which pictures, in which order, on which side."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Trial:
    """Two results for one image, side by side."""

    image: str  # the name of the mask
    left: str  # methods
    right: str

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        """The comparison without its sides."""
        return self.image, frozenset((self.left, self.right))


def order_of(images: Sequence[str], methods: Sequence[str], seed: int, rater: str) -> list[Trial]:
    """Every comparison of two methods on every image once, in an order of this rater.

    Any beginning of the list is balanced: every image comes once before any comes twice, and the pairs of methods take
    turns. Each method of a pair is on the left in half of their comparisons. A function of the arguments alone.
    """
    digest = hashlib.sha256(f"{seed}\n{rater}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    pairs = list(combinations(methods, 2))
    place = rng.permutation(len(images))
    trials: list[Trial] = []
    for turn in range(len(pairs)):  # an image has another pair in every turn
        waiting: list[list[str]] = [[] for _ in pairs]
        for i in rng.permutation(len(images)):
            waiting[(place[i] + turn) % len(pairs)].append(images[i])
        swapped = [iter(rng.permutation(np.arange(len(each)) % 2)) for each in waiting]
        while any(waiting):
            for p in rng.permutation(len(pairs)):
                if waiting[p]:
                    left, right = pairs[p][:: -1 if next(swapped[p]) else 1]
                    trials.append(Trial(waiting[p].pop(), left, right))
    return trials

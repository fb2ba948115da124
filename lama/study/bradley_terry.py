"""Scores of methods from comparisons of two.

The model: Bradley and Terry, "Rank analysis of incomplete block designs: I. The method of paired comparisons",
Biometrika 39, 1952. The iteration: the MM algorithm of Hunter, "MM algorithms for generalized Bradley-Terry models",
Annals of Statistics 32(1), 2004.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from lama.study.votes import Vote

Wins = NDArray[np.float64]
PRIOR = 0.1  # imaginary ties of each pair of methods: they keep the score of a method finite that always wins
RESAMPLES = 1000
MOST_STEPS = 20_000


def wins_of(votes: Iterable[Vote], methods: Sequence[str]) -> Wins:
    """(images, M, M): how often the first method beat the second on each image with a vote; a tie is half a win each.

    Half a win is the usual treatment. Davidson's model (1970) has a parameter for ties instead.
    """
    rows: dict[str, int] = {}
    place = {method: i for i, method in enumerate(methods)}
    entries = []
    for vote in votes:
        row, left, right = rows.setdefault(vote.image, len(rows)), place[vote.left], place[vote.right]
        share = {"left": 1.0, "right": 0.0, "equal": 0.5}[vote.vote]
        entries += [(row, left, right, share), (row, right, left, 1 - share)]
    wins = np.zeros((len(rows), len(methods), len(methods)))
    for row, winner, loser, share in entries:
        wins[row, winner, loser] += share
    return wins


def scores_of(wins: Wins) -> NDArray[np.float64]:
    """(..., M, M) wins to (..., M) scores: natural logarithms of the strengths p, with mean 0.

    P(i beats j) = p_i / (p_i + p_j). Maximises the likelihood of ``wins`` and ``PRIOR`` ties of each pair by
    p_i <- W_i / sum_j N_ij / (p_i + p_j), W_i the wins of i, N_ij the comparisons of i and j (Hunter 2004, equation 3).
    """
    methods = wins.shape[-1]
    wins = wins + PRIOR / 2 * (1 - np.eye(methods))
    played, won = wins + wins.swapaxes(-1, -2), wins.sum(axis=-1)
    score = np.zeros(won.shape)
    for _ in range(MOST_STEPS):
        p = np.exp(score)
        new = np.log(won) - np.log((played / (p[..., :, None] + p[..., None, :])).sum(axis=-1))
        new -= new.mean(axis=-1, keepdims=True)
        step = np.abs(new - score).max()
        score = new
        if step < 1e-10:
            break
    return score


def resampled_scores(wins: Wins, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(resamples, M) scores of bootstrap samples of the images of ``wins`` (images, M, M)."""
    sums = resampled_sums(wins.reshape(len(wins), -1), seed, resamples)
    return scores_of(sums.reshape(resamples, *wins.shape[1:]))


def resampled_sums(rows: NDArray[np.float64], seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(resamples, K) sums over bootstrap samples of the images, the rows of (images, K).

    All votes for an image are drawn together, since they depend on each other.
    """
    rng, images = np.random.default_rng(seed), len(rows)
    sizes = [min(100, resamples - start) for start in range(0, resamples, 100)]  # at once would take too much memory
    drawn = (rng.multinomial(images, np.full(images, 1 / images), size=size) for size in sizes)
    return np.concatenate([counts @ rows for counts in drawn])


def is_determined(total: Wins) -> bool:
    """Whether scores without ``PRIOR`` would be finite: every method beats every other along some chain of wins.

    ``total`` is (M, M). This is the condition of Hunter 2004, assumption 1.
    """
    return connected_components(total > 0, directed=True, connection="strong")[0] == 1

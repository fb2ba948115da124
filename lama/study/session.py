"""The comparison that each rater sees next. The browser gets random names: none tells a method, an image or a file."""

import functools
import secrets
from collections.abc import Iterable
from threading import RLock
from typing import Any

from lama.serving.refused import RefusedError
from lama.study.folder import Study
from lama.study.plan import Trial, order_of
from lama.study.votes import CHOICES, UNDONE, VoteFile, first_spellings, standing

SIDES = ("original", "left", "right")
LONGEST_NAME = 64  # characters


class Session:
    """The votes of all raters, and the trials that are on their screens.

    ``most`` limits the comparisons of a rater; None: every pair of methods on every image. Raises ValueError for a
    limit below 1.
    """

    def __init__(self, study: Study, file: VoteFile, most: int | None = None) -> None:
        if most is not None and most < 1:
            raise ValueError(f"pairs={most}: expected at least 1, or null for all")
        self.study, self._file, self._lock = study, file, RLock()
        self._order = functools.lru_cache(64)(
            lambda rater: order_of(study.images, study.methods, study.seed, rater)[:most]
        )
        self._names = first_spellings(file.votes)
        self._judged: dict[str, dict[Any, Trial]] = {}  # by rater, in the order of the votes
        for vote in standing(file.votes):
            self._judged.setdefault(vote.rater, {})[vote.trial.key] = vote.trial
        self._shown: dict[str, dict[Trial, dict[str, str]]] = {}  # the random names of the trials of each rater
        self._pictures: dict[str, tuple[Trial, str]] = {}  # by random name

    @property
    def votes(self) -> int:
        """The number of votes that were not taken back."""
        return sum(map(len, self._judged.values()))

    def state(self, rater: str) -> dict[str, Any]:
        """The progress of a rater, the trial to judge and the one after it, whose pictures the page may load."""
        with self._lock:
            rater = self._named(rater)
            judged, order = self._judged.get(rater, {}), self._order(rater)
            left = [trial for trial in order if trial.key not in judged]
            coming = self._show(rater, left[:2])
            return {"done": len(order) - len(left), "of": len(order), "question": self.study.question,
                    "trial": coming[0] if coming else None, "following": coming[1] if coming[1:] else None,
                    "undo": bool(judged)}  # fmt: skip

    def vote(self, rater: str, name: str, choice: str) -> dict[str, Any]:
        """Record a vote for the trial with the random ``name``; returns the new state.

        Raises RefusedError if the trial is not on the screen of the rater, or the disk is full; ValueError for another
        choice than left, right and equal.
        """
        if choice not in CHOICES:
            raise ValueError(f"vote: expected one of {', '.join(CHOICES)}")
        with self._lock:
            rater = self._named(rater)
            shown = self._shown.get(rater, {})
            trial = next((trial for trial, names in shown.items() if names["trial"] == name), None)
            if trial is None or trial.key in self._judged.get(rater, {}):
                raise RefusedError(409, "this comparison is not on your screen any more")
            self._write(rater, trial, choice)
            self._judged.setdefault(rater, {})[trial.key] = trial
            return self.state(rater)

    def undo(self, rater: str) -> dict[str, Any]:
        """Take back the last vote of a rater, which may be of an earlier session; returns the new state."""
        with self._lock:
            rater = self._named(rater)
            judged = self._judged.get(rater, {})
            if judged:
                key = next(reversed(judged))
                self._write(rater, judged[key], UNDONE)
                del judged[key]
            return self.state(rater)

    def picture(self, name: str) -> tuple[Trial, str]:
        """The trial and the side (original, left or right) of a random name. Raises RefusedError for another name."""
        with self._lock:
            if name not in self._pictures:
                raise RefusedError(404, "no such picture")
            return self._pictures[name]

    def _named(self, rater: str) -> str:
        """The name as it was first spelled; another case is the same person."""
        return self._names.setdefault(rater.casefold(), rater)

    def _show(self, rater: str, trials: Iterable[Trial]) -> list[dict[str, str]]:
        before = self._shown.get(rater, {})
        now = {trial: before.get(trial) or _random_names() for trial in trials}
        self._shown[rater] = now
        for names in before.values():
            for side in SIDES:
                self._pictures.pop(names[side], None)
        self._pictures |= {names[side]: (trial, side) for trial, names in now.items() for side in SIDES}
        return list(now.values())

    def _write(self, rater: str, trial: Trial, vote: str) -> None:
        try:
            self._file.add(rater, trial, vote)
        except OSError as error:
            reason = (error.strerror or "error").lower()
            raise RefusedError(507, f"the vote was not saved ({reason}); tell the person who runs the study") from error


def rater_of(name: object) -> str:
    """A name as a rater typed it, without spaces around it. Raises ValueError for none, or one that cannot be kept."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise ValueError(f"rater: expected a name of 1 to {LONGEST_NAME} characters")
    return " ".join(name.split())


def _random_names() -> dict[str, str]:
    return {part: secrets.token_urlsafe(12) for part in ("trial", *SIDES)}

"""The votes, as a CSV file that only grows: every vote is on the disk before the page goes on."""

import csv
import io
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from threading import Lock

from lama.files import synced
from lama.study.plan import Trial

logger = logging.getLogger(__name__)

COLUMNS = ("time", "rater", "image", "left", "right", "vote")
CHOICES = ("left", "right", "equal")
UNDONE = "undone"  # takes back the vote of this rater for this comparison


@dataclass(frozen=True)
class Vote:
    """One line of votes.csv. ``vote`` is the last column: a line that was cut off has no valid one."""

    time: str  # UTC, ISO 8601
    rater: str
    image: str
    left: str
    right: str
    vote: str  # left, right, equal or undone

    @property
    def trial(self) -> Trial:
        return Trial(self.image, self.left, self.right)


def standing(votes: Iterable[Vote]) -> list[Vote]:
    """The votes that were not taken back, in the order in which they were cast."""
    kept: dict[tuple[str, str, frozenset[str]], Vote] = {}
    for vote in votes:
        key = (vote.rater, *vote.trial.key)
        kept.pop(key, None)
        if vote.vote != UNDONE:
            kept[key] = vote
    return list(kept.values())


def first_spellings(votes: Iterable[Vote]) -> dict[str, str]:
    """{name of a rater in lower case: the name as it was first spelled}: Ada and ada are one person."""
    found: dict[str, str] = {}
    for vote in votes:
        found.setdefault(vote.rater.casefold(), vote.rater)
    return found


def seconds_per_vote(votes: Iterable[Vote]) -> dict[str, float | None]:
    """{rater: median of the seconds from a line of votes.csv to the next of the same rater, if that is a vote}.

    A pause counts once, so the median ignores it. ``votes`` holds those that were taken back too. None for a rater with
    one vote, and where the times are no times.
    """
    taken: dict[str, list[float]] = {}
    latest: dict[str, datetime | None] = {}
    for vote in votes:
        now, before = _time(vote.time), latest.get(vote.rater)
        gaps = taken.setdefault(vote.rater, [])
        if now is not None and before is not None and vote.vote != UNDONE:
            gaps.append((now - before).total_seconds())
        latest[vote.rater] = now
    return {rater: median(gaps) if gaps else None for rater, gaps in taken.items()}


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def read_votes(path: Path, images: Sequence[str], methods: Sequence[str]) -> list[Vote]:
    """Every line of the file, without a last line that was cut off; no vote for a missing file.

    Raters whose names differ only by case are one, with the name that was spelled first.

    Raises ValueError, naming the line, for anything else than a vote about these images and methods.
    """
    return _parsed(_complete(path)[0], path, images, methods)


class VoteFile:
    """votes.csv, open for more votes.

    A last line that was cut off by a loss of power or a full disk is removed, with a warning; a last vote that only
    lacks the end of its line is kept. ``votes`` are the votes so far. Raises ValueError as ``read_votes`` does.
    """

    def __init__(self, path: Path, images: Sequence[str], methods: Sequence[str]) -> None:
        content, tail = _complete(path)
        self.votes = _parsed(content, path, images, methods)
        self._lock = Lock()
        self._file = path.open("ab", buffering=0)
        if tail:
            logger.warning("%s: the last line was cut off and is removed: %s", path, tail.decode(errors="replace"))
        self._size = min(path.stat().st_size, len(content))
        os.ftruncate(self._file.fileno(), self._size)
        self._write(content[self._size :] if content else _line(COLUMNS))
        synced(path.parent)

    def add(self, rater: str, trial: Trial, vote: str) -> None:
        """Write a vote and wait until it is on the disk. Raises OSError if it cannot be written; then nothing is."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        one = Vote(now, rater, trial.image, trial.left, trial.right, vote)
        with self._lock:
            self._write(_line(astuple(one)))
            self.votes.append(one)

    def close(self) -> None:
        self._file.close()

    def _write(self, content: bytes) -> None:
        try:
            rest = content
            while rest:  # without a buffer a write may be partial
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), self._size)
            raise
        self._size += len(content)


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _complete(path: Path) -> tuple[bytes, bytes]:
    """(the complete lines of the file, a last line that was cut off)."""
    content = path.read_bytes() if path.is_file() else b""
    head, newline, tail = content.rpartition(b"\n")
    cells = next(csv.reader([tail.decode(errors="replace")]), [])
    if len(cells) == len(COLUMNS) and (cells[-1] in (*CHOICES, UNDONE) or tuple(cells) == COLUMNS):
        return content + b"\n", b""
    return head + newline, tail


def _parsed(content: bytes, path: Path, images: Sequence[str], methods: Sequence[str]) -> list[Vote]:
    known = set(images)
    try:
        lines = csv.reader(io.StringIO(content.decode()))
        rows = [(lines.line_num, row) for row in lines if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a CSV file in UTF-8 ({error})") from error
    if rows and tuple(rows[0][1]) != COLUMNS:
        raise ValueError(f"{path}, line 1: expected the columns {','.join(COLUMNS)}, got {','.join(rows[0][1])}")
    votes = []
    for number, row in rows[1:]:
        vote = Vote(*row) if len(row) == len(COLUMNS) else None
        if vote is None or vote.vote not in (*CHOICES, UNDONE):
            raise ValueError(f"{path}, line {number}: expected {','.join(COLUMNS)}, got {','.join(row)}")
        if vote.image not in known or {vote.left, vote.right} - set(methods) or vote.left == vote.right:
            raise ValueError(f"{path}, line {number}: {vote.image}, {vote.left}, {vote.right}: expected an image and "
                             f"two methods of this study ({', '.join(methods)})")  # fmt: skip
        votes.append(vote)
    names = first_spellings(votes)
    return [replace(vote, rater=names[vote.rater.casefold()]) for vote in votes]

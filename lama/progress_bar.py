"""How far a prediction has come: a bar in a terminal, and whoever listens.

``bar`` is what takes long; ``listening`` is around a prediction that somebody watches, a page say. Whoever listens may
raise, which ends the prediction: that is how it is cancelled between two pieces.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

Listener = Callable[[str, int, int], None]  # what is counted, how many are done, of how many
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell ``listener`` of every bar in this block, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class bar(tqdm):  # type: ignore[misc]  # noqa: N801  (called like the tqdm it is)
    """A tqdm of ``total`` ``desc`` that goes when it is done."""

    def __init__(self, total: int, desc: str, **options: Any) -> None:
        super().__init__(total=total, desc=desc, leave=False, **options)
        self._what, self._done, self._of = desc, 0, total
        self._tell()

    def update(self, n: float | None = 1) -> bool | None:
        """``n`` more are done."""
        shown = super().update(n)
        self._done += int(n or 0)
        self._tell()
        return shown

    def _tell(self) -> None:
        listener = _listener.get()
        if listener is not None:
            listener(self._what, self._done, self._of)

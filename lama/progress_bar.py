"""Progress of a prediction: a bar in the terminal, and a callback for other displays such as a web page.

A ``bar`` reports to the listener that ``listening`` has set. A listener may raise an exception to cancel it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

try:
    from tqdm import tqdm
except ModuleNotFoundError:  # beside ``lama.onnx``, which needs no tqdm: nothing is shown, listeners still hear

    class tqdm:  # type: ignore[no-redef]  # noqa: N801
        """The part of tqdm that ``bar`` uses, silent."""

        def __init__(self, **options: Any) -> None:
            pass

        def __enter__(self) -> "tqdm":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def update(self, n: float | None = 1) -> bool | None:
            return None


Listener = Callable[[str, int, int], None]  # (name, done, total)
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Report the progress of every bar in this block and thread to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class bar(tqdm):  # type: ignore[misc]  # noqa: N801  (called like the tqdm it is)
    """A tqdm that disappears at the end: ``total`` steps, called ``desc``."""

    def __init__(self, total: int, desc: str, **options: Any) -> None:
        super().__init__(total=total, desc=desc, leave=False, **options)
        self._name, self._done, self._total = desc, 0, total
        self._report()

    def update(self, n: float | None = 1) -> bool | None:
        shown = super().update(n)
        self._done += int(n or 0)
        self._report()
        return shown

    def _report(self) -> None:
        listener = _listener.get()
        if listener is not None:
            listener(self._name, self._done, self._total)

"""Count how often the host waits for a GPU, by PyTorch's own watch."""

import warnings
from collections import Counter
from types import TracebackType
from typing import Self

import torch

MESSAGE = "synchronizing CUDA operation"


class HostWaits:
    """``with HostWaits() as seen:`` compute on a GPU; then ``seen.places`` counts the waits by file:line.

    It can also be started and stopped by hand. Other warnings of the block are shown at its end.
    """

    def __init__(self) -> None:
        self.places: Counter[str] = Counter()
        self._block: warnings.catch_warnings[list[warnings.WarningMessage]] | None = None

    @property
    def counting(self) -> bool:
        return self._block is not None

    def start(self) -> None:
        self.places.clear()
        self._block = warnings.catch_warnings(record=True)
        seen = self._block.__enter__()
        self._seen: list[warnings.WarningMessage] = [] if seen is None else seen
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")

    def stop(self) -> None:
        """Do nothing if it was not started."""
        if self._block is None:
            return
        torch.cuda.set_sync_debug_mode("default")
        self._block.__exit__(None, None, None)
        self._block = None
        for one in self._seen:
            if MESSAGE in str(one.message):
                self.places[f"{one.filename}:{one.lineno}"] += 1
            else:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

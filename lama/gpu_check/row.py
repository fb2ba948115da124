"""The sizes of a check, and the rows of its report."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Setup:
    """The device to check, and the sizes: ``small`` ones are for a rehearsal of the check itself on a CPU."""

    device: torch.device
    small: bool = False

    @property
    def network(self) -> dict[str, int]:
        """LaMa-Fourier, or a thin one."""
        return {"ngf": 4, "n_blocks": 1} if self.small else {"ngf": 64, "n_blocks": 9}

    @property
    def crop(self) -> int:
        return 64 if self.small else 256

    @property
    def side(self) -> int:
        """Height and width in pixels of the training steps that are compared."""
        return 32 if self.small else 64

    @property
    def batches(self) -> tuple[int, ...]:
        return (2,) if self.small else (10, 30, 64)

    @property
    def steps(self) -> int:
        return 1 if self.small else 20

    @property
    def sides(self) -> tuple[int, ...]:
        """Heights and widths of predictions, in pixels."""
        return (96,) if self.small else (512, 1024, 2048)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def synchronize(self) -> None:
        """Wait for all work of the GPU."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def free(self) -> None:
        """Give cached memory back, and start a new count of the peak."""
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)


@dataclass(frozen=True)
class Row:
    """One line of the report. ``ok`` is None for a number without a bound, and where it needs a GPU."""

    name: str
    value: str
    expected: str = ""
    ok: bool | None = None


def below(name: str, value: float, limit: float) -> Row:
    """A number that must not pass its limit; nan does."""
    return Row(name, f"{value:.2g}", f"at most {limit:.2g}", value <= limit)


def attempt(name: str, measure: Callable[[], Row]) -> Row:
    """``measure()``; if it fails, a line that says why, and the check goes on. A full memory is no mistake."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        return Row(name, "does not fit into the memory")
    except Exception as error:  # whatever a driver, a compiler or a full memory raises
        return Row(name, reason(error), "a result", False)


def reason(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"

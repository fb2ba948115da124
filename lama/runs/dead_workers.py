"""A worker of the data loader that the system has killed: which, and over which image."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lama.data.datamodule import InpaintingDataModule
from lama.runs.checkpointing import Checkpoints
from lama.training.module import InpaintingModule

PATTERN = r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (exited unexpectedly|is killed by signal: \w+)"


@contextmanager
def explain(data: InpaintingDataModule, module: InpaintingModule, keeper: Checkpoints) -> Iterator[None]:
    """Turn PyTorch's error about dead workers into an error of one line that says what they were at.

    PyTorch raises it from a handler of signals, anywhere: who is interrupted may have raised another because of it.
    """
    try:
        yield
    except Exception as error:
        killed = next(filter(None, (re.search(PATTERN, str(reason)) for reason in _reasons(error))), None)
        if killed is None:
            raise
        dead = {int(pid) for pid in killed[1].split(",")}
        names = [data.train_set.name(image - 1) for pid, image in data.train_set.at_work.tolist() if pid in dead]
        raise keeper.interrupted(
            f"data: a worker {killed[2]} after iteration {int(module.iteration)}, its latest image was "
            f"{', '.join(names) or 'none'}; often memory was short (data.num_workers=1 data.cache_gb=0 need less)"
        ) from error


def _reasons(error: BaseException | None) -> Iterator[BaseException]:
    """An error, that because of which it was raised, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

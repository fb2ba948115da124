"""Fill many pictures, one after the other; one that fails does not stop the rest."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from lama.inference.inpainter import Inpainter
from lama.interfaces import EvaluationPair, ImageArray


def fill_all(
    inpainter: Inpainter,
    jobs: Sequence[Callable[[], EvaluationPair]],  # each reads one picture and its mask
    save: Callable[[str, ImageArray], Path],  # writes a result under the mask's name
) -> list[str]:
    """Run every job with a progress bar; returns one line for each that failed."""
    failures = []
    for job in tqdm(jobs, desc="inpainting", unit="picture"):
        name = ""
        try:
            pair = job()
            name = f"{pair.name}: "  # from here on an error does not know by itself which picture it is about
            save(pair.name, inpainter(pair.image, pair.mask))
        except (ValueError, OSError) as error:
            failures.append(f"{name}{error}")
    return failures

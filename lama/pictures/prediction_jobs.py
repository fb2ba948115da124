"""The jobs of a prediction run (read an image, fill its hole, write the result), their notices, and the loop."""

import errno
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lama.interfaces import MaskArray
from lama.pictures.encode import KEEPS_ALPHA, is_lossy, losses, write_image_file
from lama.pictures.folders import Folders
from lama.pictures.ignored import Ignored
from lama.pictures.images import header_size
from lama.pictures.masks import MaskReader
from lama.pictures.notices import Notices
from lama.pictures.pairing import preview_names
from lama.pictures.prediction_set import PredictionItem, PredictionSet
from lama.pictures.reading import ImageFile, read_image_file
from lama.pixels.colours import NEARLY_ALL
from lama.pixels.levels import LARGE
from lama.pixels.plain import Pixels

logger = logging.getLogger(__name__)
# pixels (H, W) or (H, W, 3), hole (H, W) and, if there are any, ``ImageFile.no_context`` -> pixels
Fill = Callable[..., Pixels]
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors that all further images would meet too


@dataclass(frozen=True)
class PredictionJob:
    """``job(fill)`` reads, fills and writes one image (atomically). Raises ValueError or OSError."""

    item: PredictionItem
    masks: MaskReader
    quality: int
    notices: Notices
    ignore: Ignored | None = None  # pixels that the network must not see

    @property
    def name(self) -> str:
        return str(self.item.image or self.item.mask)

    def __call__(self, fill: Fill) -> None:
        if self.item.missing or self.item.image is None:
            raise ValueError(self.item.missing)
        image = read_image_file(self.item.image)
        hole, remarks = self.masks.read(self.item.mask, image, self.item.image.name)
        for mask in self.item.more_masks:
            other, more = self.masks.read(mask, image, self.item.image.name)
            hole, remarks = hole | other, [*remarks, *more]
        for remark in (*image.notes, *remarks, *losses(image, self.item.out.suffix)):
            self.notices.add(remark, self.name)
        if hole.any():
            image = replace(image, pixels=self._filled(fill, image, hole))
            image = self._with_opaque_hole(image, hole)
        write_image_file(self.item.out, image, self.quality)

    def _with_opaque_hole(self, image: ImageFile, hole: MaskArray) -> ImageFile:
        """Make the hole opaque in an image that is its own mask; notice a hole that stays transparent."""
        alpha = image.alpha
        if alpha is None or self.item.out.suffix.lower() not in KEEPS_ALPHA:
            return image
        if self.item.image == self.item.mask:
            return replace(image, alpha=np.where(hole, np.iinfo(alpha.dtype).max, alpha).astype(alpha.dtype))
        if not alpha[hole].any():
            self.notices.add("the filled region stays transparent, as in the input; out_ext=.jpg drops alpha",
                             self.name)  # fmt: skip
        return image

    def _filled(self, fill: Fill, image: ImageFile, hole: MaskArray) -> Pixels:
        ignored = None
        if self.ignore is not None:
            ignored = self.ignore.of(image, self.name)
            if ignored.mean() > LARGE:
                self.notices.add(NEARLY_ALL, self.name)
        ignored = image.no_context(ignored)
        try:
            return fill(image.pixels, hole) if ignored is None else fill(image.pixels, hole, ignored)
        except ValueError as error:  # add the name of the image
            raise ValueError(f"{self.name}: {error}") from error


class PredictionPlan:
    """The jobs of a run and the messages about them; ``ignore`` is a mask file or a colour, as ``Ignored`` takes it.

    Raises ValueError for a quality out of range, FileExistsError for an existing result without ``skip_existing`` or
    ``overwrite``, FileNotFoundError if ``ignore`` is neither a file nor a colour.
    """

    def __init__(
        self,
        found: PredictionSet,
        masks: MaskReader,
        quality: int = 95,
        skip_existing: bool = False,
        overwrite: bool = False,
        ignore: str | Path | None = None,
    ) -> None:
        if not isinstance(quality, int) or isinstance(quality, bool) or not 1 <= quality <= 100:
            raise ValueError(f"quality={quality}: expected a whole number from 1 to 100")
        if skip_existing and overwrite:
            raise ValueError("skip_existing=true and overwrite=true: expected only one of them")
        ignored = None if ignore is None else Ignored(str(ignore), masks.resize)
        self.found = found
        self.notices = Notices()
        # Results are written atomically, so a result that exists is complete.
        exists = Folders().exists
        left = [item for item in found.items if not (skip_existing and exists(item.out))]
        there = [] if overwrite or skip_existing else [item.out for item in left if exists(item.out)]
        if there:
            advice = "skip_existing=true fills only the other images, overwrite=true replaces the results"
            raise FileExistsError(f"{there[0]}: exists already, one of {len(there)} such results; {advice}")
        self.jobs = [PredictionJob(item, masks, quality, self.notices, ignored) for item in left]
        self.skipped = len(found.items) - len(self.jobs)
        lossy = sorted({t.out.suffix for t in left if is_lossy(t.out.suffix, quality)})
        if found.unmasked:
            names = preview_names(found.unmasked, 3)
            logger.info("images without a mask, skipped (%d): %s", len(found.unmasked), names)
        if found.others:
            logger.warning("images in unsupported formats, skipped (%d): %s; convert them",
                           len(found.others), preview_names(found.others, 3))  # fmt: skip
        if lossy:
            logger.info("%s is lossy: known pixels change slightly (quality=%d)", ", ".join(lossy), quality)

    def largest(self) -> int:
        """Number of pixels of the largest image, from the file headers; 0 if none can be read."""
        return max((math.prod(header_size(job.item.image)) for job in self.jobs if job.item.image), default=0)

    def summary(self, done: int, stopped: str) -> str:
        """One line for the end of the run: the count of results, and how to resume after an interruption."""
        if not self.found.items:
            return f"nothing to do: no result in {self.found.where} belongs to this shard"
        if not self.jobs:
            return f"nothing to do: all {self.skipped} results are in {self.found.where} already"
        there = f", {self.skipped} existed already" if self.skipped else ""
        counts = f"{done} of {len(self.jobs)} images written to {self.found.where}{there}"
        return f"{stopped}: {counts}; repeat the command with skip_existing=true to continue" if stopped else counts


@dataclass
class Outcome:
    """The end of a run: what it wrote and what it could not do."""

    done: int = 0
    failures: list[str] = field(default_factory=list)  # one line for each image
    stopped: str = ""  # why the run ended early: full disk or Ctrl-C; empty if it did not
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 on success, 130 after Ctrl-C (the convention of shells), 1 after failures."""
        return 130 if self.interrupted else int(bool(self.failures or self.stopped))


def fill_all(fill: Fill, jobs: Sequence[PredictionJob]) -> Outcome:
    """Run every job with a progress bar; a failure does not stop the rest. ``fill`` may be an ``Inpainter``."""
    outcome = Outcome()
    with tqdm(jobs, desc="inpainting", unit="image") as bar:
        try:
            for job in bar:
                _run(job, fill, outcome)
                if outcome.stopped:
                    break
                if outcome.failures:
                    bar.set_postfix(failed=len(outcome.failures))
        except KeyboardInterrupt:
            outcome.stopped, outcome.interrupted = "interrupted", True
    return outcome


def _run(job: PredictionJob, fill: Fill, outcome: Outcome) -> None:
    try:
        job(fill)
        outcome.done += 1
    except OSError as error:
        reason = f"{error.filename}: {error.strerror.lower()}" if error.filename and error.strerror else str(error)
        if error.errno in FULL:
            outcome.stopped = reason
        else:
            outcome.failures.append(reason)
    except ValueError as error:
        outcome.failures.append(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        outcome.failures.append(f"{job.name}: not enough memory for an image of this size")


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")  # of torch, on a GPU and on a CPU
    return any(word in str(error) for word in words)

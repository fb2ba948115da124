"""One image of a prediction: read, have its hole filled, write; and what is said once about many of them."""

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from lama.interfaces import MaskArray
from lama.pictures.encode import KEEPS_ALPHA, is_lossy, losses, write_image_file
from lama.pictures.masks import MaskReader
from lama.pictures.prediction_set import PredictionItem, PredictionSet, preview_names
from lama.pictures.reading import ImageFile, Pixels, read_image_file

logger = logging.getLogger(__name__)
Fill = Callable[[Pixels, MaskArray], Pixels]  # (H, W) or (H, W, 3), uint8 or uint16, and its hole -> the same kind


def _pixels(path: Path) -> int:
    try:
        with Image.open(path) as header:
            return header.width * header.height
    except Exception:  # Pillow raises errors of many kinds; whoever reads the image says what is wrong
        return 0


class Notices:
    """Remarks about images: of each kind the first is logged at once, the rest are counted."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, name: str) -> None:
        """``kind`` is the remark itself, without the name of the image."""
        self.names[kind].append(name)
        if len(self.names[kind]) == 1:
            logger.warning("%s: %s", name, kind)

    def counted(self) -> list[str]:
        """A line for each kind that came more than once."""
        return [f"{len(names)} images, first {names[0]}: {k}" for k, names in self.names.items() if len(names) > 1]


@dataclass(frozen=True)
class PredictionJob:
    """``job(fill)``: everything about one image. Raises ValueError or OSError; writes whole or not at all."""

    item: PredictionItem
    masks: MaskReader
    quality: int
    notices: Notices

    @property
    def name(self) -> str:
        """The image, for messages."""
        return str(self.item.image or self.item.mask)

    def __call__(self, fill: Fill) -> None:
        if self.item.missing or self.item.image is None:
            raise ValueError(self.item.missing)
        image = read_image_file(self.item.image)
        hole, remarks = self.masks.read(self.item.mask, image, self.item.image.name)
        for remark in (*image.notes, *remarks, *losses(image, self.item.out.suffix)):
            self.notices.add(remark, self.name)
        if hole.any():
            image = replace(image, pixels=self._filled(fill, image.pixels, hole))
            image = self._seen(image, hole)
        write_image_file(self.item.out, image, self.quality)

    def _seen(self, image: ImageFile, hole: MaskArray) -> ImageFile:
        """An image that is its own mask has its hole cut out of alpha: filled, it is opaque there."""
        alpha = image.alpha
        if alpha is None or self.item.out.suffix.lower() not in KEEPS_ALPHA:
            return image
        if self.item.image == self.item.mask:
            return replace(image, alpha=np.where(hole, np.iinfo(alpha.dtype).max, alpha).astype(alpha.dtype))
        if not alpha[hole].any():
            self.notices.add("what is filled in stays transparent, as the image is there; out_ext=.jpg drops alpha",
                             self.name)  # fmt: skip
        return image

    def _filled(self, fill: Fill, pixels: Pixels, hole: MaskArray) -> Pixels:
        try:
            return fill(pixels, hole)
        except ValueError as error:  # it does not know which image it was given
            raise ValueError(f"{self.name}: {error}") from error


class PredictionPlan:
    """The jobs of a run, and what is to be said about them.

    Raises ValueError for a quality out of range, FileExistsError where a file would be replaced without ``overwrite``.
    """

    def __init__(
        self,
        found: PredictionSet,
        masks: MaskReader,
        quality: int = 95,
        skip_existing: bool = False,
        overwrite: bool = False,
    ) -> None:
        if not isinstance(quality, int) or isinstance(quality, bool) or not 1 <= quality <= 100:
            raise ValueError(f"quality={quality}: expected a whole number from 1 to 100")
        if skip_existing and overwrite:
            raise ValueError("skip_existing=true and overwrite=true: give one of them")
        self.found = found
        self.notices = Notices()
        left = found.without_existing() if skip_existing else found
        there = [] if overwrite else [item.out for item in left.items if item.out.exists()]
        if there:
            raise FileExistsError(
                f"{there[0]}: exists already, one of {len(there)} that would be replaced; skip_existing=true does the "
                "others only, overwrite=true replaces"
            )
        self.jobs = [PredictionJob(item, masks, quality, self.notices) for item in left.items]
        self.skipped = len(found.items) - len(self.jobs)
        lossy = sorted({t.out.suffix for t in left.items if is_lossy(t.out.suffix, quality)})
        if found.unmasked:
            logger.info(
                "images without a mask, left out (%d): %s", len(found.unmasked), preview_names(found.unmasked, 3)
            )
        if found.others:
            logger.warning("of formats that are not read, passed over (%d): %s; convert them",
                           len(found.others), preview_names(found.others, 3))  # fmt: skip
        if lossy:
            logger.info(
                "%s is lossy: known pixels come close (quality=%d), not byte for byte", ", ".join(lossy), quality
            )

    def largest(self) -> int:
        """Pixels of the largest image, from the headers; those that cannot be read do not count."""
        return max((_pixels(job.item.image) for job in self.jobs if job.item.image is not None), default=0)

    def summary(self, done: int, stopped: str) -> str:
        """One line at the end: how many are done, and how the rest would be."""
        if not self.jobs:
            return f"nothing left to do: all {self.skipped} are in {self.found.where} already"
        there = f", {self.skipped} were there already" if self.skipped else ""
        counts = f"{done} of {len(self.jobs)} images written to {self.found.where}{there}"
        return f"{stopped}: {counts}; the same command with skip_existing=true goes on" if stopped else counts

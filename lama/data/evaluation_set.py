"""Evaluation sets: images with fixed masks, from a folder of pairs or drawn from a seed.

The manifest of a set holds seed, settings and the sha256 of every file. It identifies the set.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lama.data.manifest import JOURNAL, Manifest, digest
from lama.data.sources import scale_to_short_side
from lama.files import sha256_of
from lama.interfaces import EvaluationPair, ImageArray, ImageSource, MaskArray, MaskSampler, PairedMaskSampler
from lama.pictures.images import (
    SUFFIXES,
    files_below,
    image_to_tensor,
    list_images,
    mask_to_tensor,
    open_header,
    others_named,
    read_image,
    upright_size,
    write_image,
)
from lama.pictures.masks import MaskReader, check_size
from lama.pictures.notices import Notices
from lama.pictures.pairing import find_clean_plates, find_pairs, is_mask, preview_names, with_others
from lama.pictures.reading import ImageFile, suspicions
from lama.verbs import typed

logger = logging.getLogger(__name__)
CLEAN_PLATE = "_gt"  # the usual end of their names


class PairFolder(Sequence[EvaluationPair]):
    """A folder of ``name.png`` + ``name_mask001.png`` (any image suffix, several masks per image, sub-folders).

    ``mask_1.png`` + ``image_1.png`` works too. ``img_suffix``: the end of the names of images, if not any. Results are
    named after masks, as in the official code. Raises FileNotFoundError or ValueError if the folder is missing or
    empty, a mask has no image, or (on access) a mask and its image differ in size or cannot be read. With a
    ``manifest.json`` of ``lama masks``, the files must match it exactly. ``notices`` collects warnings about images and
    masks when pairs are read. ``truth``: the end of the names of clean plates, as ``_gt`` for ``name_gt.png``: the
    scene of ``name.png`` without the object. Every image needs one then.
    """

    def __init__(
        self,
        path: str | Path,
        img_suffix: str | None = None,
        masks: MaskReader | None = None,  # None: every pixel that is not black is a hole
        notices: Notices | None = None,
        white: int | None = None,  # the value of 16-bit images that becomes white; None: 65535
        truth: str | None = None,
    ) -> None:
        self.root = Path(path).expanduser()
        self.masks, self.notices, self.white = masks or MaskReader(), notices, white
        self._read: set[Path] = set()  # masks whose warnings are in ``notices``
        pairs = list(find_pairs(self.root, img_suffix))
        unfinished = next((path for path in files_below(self.root, hidden=True) if path.name == JOURNAL), None)
        if unfinished is not None:
            raise ValueError(f"{unfinished.parent}: an unfinished evaluation set; repeat the command that generates it")
        self.manifests = Manifest.below(self.root)
        for manifest in self.manifests:
            manifest.check_names(list_images(self.root))
        orphans = [mask for image, mask in pairs if image is None]
        if orphans:
            others = f" (and {len(orphans) - 1} more such masks)" if len(orphans) > 1 else ""
            stem = orphans[0].stem.rsplit("_mask", 1)[0]
            only = f"{stem}{img_suffix} (img_suffix={img_suffix})"
            expected = f"expected {only if img_suffix else f'{stem} with one of ' + ' '.join(SUFFIXES)} in its folder"
            there = others_named(stem, orphans[0].parent)
            raise ValueError(f"{orphans[0]}: mask without an image; {expected}{there}{others}")
        self.paths = [(image, mask) for image, mask in pairs if image is not None]
        self.truth = truth
        self.clean_plates = self._find_clean_plates()

    def _find_clean_plates(self) -> dict[Path, Path]:
        images, files = [image for image, _ in self.paths], list_images(self.root)
        if self.truth:
            return find_clean_plates(images, files, self.truth)
        usual = {image.with_name(image.stem + CLEAN_PLATE) for image in images} & {p.with_suffix("") for p in files}
        if usual:
            line = "%s: %d images have a clean plate NAME%s, which is not used; truth=%s compares with it"
            logger.warning(line, self.root, len(usual), CLEAN_PLATE, CLEAN_PLATE)
        return {}

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> list[str]:
        """The names of the masks in order; predictions have the same names."""
        return [mask.relative_to(self.root).with_suffix("").as_posix() for _, mask in self.paths]

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of each image, from the headers; (0, 0) for a file that cannot be opened."""
        return [_size(image) for image, _ in self.paths]

    def named(self, name: str) -> EvaluationPair:
        """The pair of the mask called ``name``. Raises KeyError if there is none."""
        return self[self._places[name]]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def hashes(self) -> list[str]:
        """The hashes that identify the set: of each manifest or, without one, of the files by the same rule."""
        if self.manifests:
            return [manifest.hash for manifest in self.manifests]
        files = {path for pair in self.paths for path in pair} | set(self.clean_plates.values())
        return [digest({path.relative_to(self.root).as_posix(): sha256_of(path) for path in files})]

    def report(self) -> dict[str, Any]:
        """The hashes, and the options that are not at their defaults; logs the counts of ``notices``."""
        for line in [] if self.notices is None else self.notices.counted():
            logger.warning(line)
        options = {"masks": self.masks.options(), "white": self.white, "truth": self.truth}
        return {"evaluation_set": self.hashes()} | {name: value for name, value in options.items() if value}

    def __getitem__(self, index: int) -> EvaluationPair:  # type: ignore[override]
        for manifest in self.manifests:
            for path in self.paths[index]:
                manifest.check_file(path)
        image_path, mask_path = self.paths[index]
        try:
            return self._pair(image_path, mask_path)
        except ValueError as error:
            raise with_others(error, (path for pair in self.paths for path in pair)) from error

    def _pair(self, image_path: Path, mask_path: Path) -> EvaluationPair:
        image = read_image(image_path, white=self.white)
        mask, warnings = self.masks.read(mask_path, ImageFile(image), image_path.name)
        if self.notices is not None and mask_path not in self._read:
            self._read.add(mask_path)
            for warning in warnings:
                self.notices.add(warning, str(mask_path))
            with open_header(image_path) as header:
                for warning in suspicions(image_path, header, "" if self.white else "white"):
                    self.notices.add(warning, str(image_path))
        clean_plate = None
        if self.truth:
            clean_plate = read_image(self.clean_plates[image_path], white=self.white)
            if clean_plate.shape != image.shape:
                (h, w), (ih, iw) = clean_plate.shape[:2], image.shape[:2]
                where = self.clean_plates[image_path]
                raise ValueError(f"{where}: clean plate is {w} x {h}, but its image is {iw} x {ih} pixels")
        return EvaluationPair(mask_path.relative_to(self.root).with_suffix("").as_posix(), image, mask, clean_plate)


def _size(path: Path) -> tuple[int, int]:
    try:
        with open_header(path) as header:
            return upright_size(header)
    except Exception:  # Pillow raises errors of many types; reading the pair names the file
        return 0, 0


class PredictionFolder:
    """Completed images for an evaluation set, named after its masks, with any image suffix.

    Raises ValueError if predictions are missing or extra, or (on reading) one has another size.
    """

    def __init__(self, path: str | Path, pairs: PairFolder) -> None:
        self.root = Path(path).expanduser()
        self.white = pairs.white
        self.by_name = {p.relative_to(self.root).with_suffix("").as_posix(): p for p in list_images(self.root)}
        names = pairs.names
        missing = [name for name in names if name not in self.by_name]
        extra = sorted(self.by_name.keys() - set(names))
        if missing:
            others = f"; {len(extra)} belong to no mask, first {extra[0]}" if extra else ""
            count = f"{len(missing)} of {len(names)} predictions are missing, {preview_names(missing, 10)}{others}"
            raise ValueError(f"{self.root}: {count}; expected names of masks, as {typed('predict')} writes them")
        if extra:
            images = any(not is_mask(self.by_name[name]) for name in extra)
            hint = "; it looks like an evaluation set itself" if images else ""
            count = f"{len(extra)} images belong to no mask of {pairs.root}, {preview_names(extra, 10)}{hint}"
            raise ValueError(f"{self.root}: {count}; expected only one prediction for each mask, named after it")

    def read(self, pairs: Sequence[EvaluationPair]) -> list[ImageArray]:
        """The predictions for ``pairs``, each uint8 (H, W, 3)."""
        try:
            images = [read_image(self.by_name[pair.name], white=self.white) for pair in pairs]
        except ValueError as error:
            raise with_others(error, self.by_name.values()) from error
        for image, pair in zip(images, pairs, strict=True):
            if image.shape != pair.image.shape:
                (h, w), (ih, iw) = image.shape[:2], pair.image.shape[:2]
                where = self.by_name[pair.name]
                raise ValueError(f"{where}: prediction is {w} x {h}, but its image is {iw} x {ih} pixels")
        return images


def batches_by_size(
    pairs: Iterable[EvaluationPair],
    complete: Callable[[Sequence[EvaluationPair]], Sequence[ImageArray]],
    batch_size: int,
) -> Iterator[tuple[list[str], Tensor, Tensor, Tensor]]:
    """(names, completed, target, mask) of images of one size at a time, tensors as ``lama.conventions`` has them.

    ``complete`` returns the predictions, uint8 (H, W, 3), of pairs of one size.
    """
    waiting: dict[tuple[int, ...], list[EvaluationPair]] = {}

    def stack(batch: list[EvaluationPair]) -> tuple[list[str], Tensor, Tensor, Tensor]:
        completed = torch.stack([image_to_tensor(image) for image in complete(batch)])
        target = torch.stack([image_to_tensor(pair.truth) for pair in batch])
        mask = torch.stack([mask_to_tensor(pair.mask) for pair in batch])
        return [pair.name for pair in batch], completed, target, mask

    for pair in pairs:
        batch = waiting.setdefault(pair.image.shape, [])
        batch.append(pair)
        if len(batch) == batch_size:
            yield stack(waiting.pop(pair.image.shape))
    for batch in waiting.values():
        yield stack(batch)


@dataclass(eq=False)
class FrozenPairs(Sequence[EvaluationPair]):
    """Square crops of a source with masks; both are a function of (seed, image, variant) alone.

    Smaller images are enlarged first. Masks are drawn until 0 < area <= ``max_area``; if masks belong to images
    (``PairedMaskSampler``), the place of the crop is drawn instead. Raises ValueError if 100 tries give no such mask,
    or an image and its own mask differ in size.
    """

    source: ImageSource
    masks: MaskSampler
    size: int = 256  # pixels, crop and mask
    per_image: int = 1  # pairs per image
    max_area: float = 0.5  # largest share of hole in a crop, as in the test sets of the paper
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.per_image < 1 or not 0 < self.max_area <= 1:
            got = f"{self.size}, {self.per_image}, {self.max_area}"
            raise ValueError(f"evaluation set: expected size, per_image >= 1 and 0 < max_area <= 1, got {got}")

    def __len__(self) -> int:
        return len(self.source) * self.per_image

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of each pair."""
        return [(self.size, self.size)] * len(self)

    def __getitem__(self, index: int) -> EvaluationPair:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, variant = divmod(index, self.per_image)
        rng = np.random.default_rng([self.seed, number, variant])
        name, image = self.source[number]
        if isinstance(self.masks, PairedMaskSampler):
            return self._own_mask(f"{name}_crop{variant:03d}_mask{0:03d}", image, self.masks.of(rng, name), rng)
        if min(image.shape[:2]) < self.size:
            image = scale_to_short_side(image, self.size)
        top, left = (int(rng.integers(0, side - self.size + 1)) for side in image.shape[:2])
        crop = np.ascontiguousarray(image[top : top + self.size, left : left + self.size])
        for _ in range(100):
            mask = self.masks(rng, self.size, self.size)
            if 0 < mask.mean() <= self.max_area:
                return EvaluationPair(f"{name}_crop{variant:03d}_mask{0:03d}", crop, mask)
        raise ValueError(f"evaluation masks: none of 100 covers between 0 and {self.max_area:.0%} of {name}")

    def _own_mask(self, name: str, image: ImageArray, mask: MaskArray, rng: np.random.Generator) -> EvaluationPair:
        """A crop of an image with its own mask, at a place where 0 < area <= ``max_area``."""
        check_size(mask, image, name)
        if min(image.shape[:2]) < self.size:
            image = scale_to_short_side(image, self.size)
            mask = np.asarray(Image.fromarray(mask).resize(image.shape[1::-1], Image.Resampling.NEAREST))
        for _ in range(100):
            top, left = (int(rng.integers(0, side - self.size + 1)) for side in image.shape[:2])
            window = slice(top, top + self.size), slice(left, left + self.size)
            if 0 < mask[window].mean() <= self.max_area:
                return EvaluationPair(name, np.ascontiguousarray(image[window]), np.ascontiguousarray(mask[window]))
        raise ValueError(f"evaluation masks: no crop of {name} hides between 0 and {self.max_area:.0%}")


def write_pairs(pairs: Iterable[EvaluationPair], folder: str | Path) -> Path:
    """Write an evaluation set as a folder that ``PairFolder`` reads; returns the folder."""
    folder = Path(folder)
    for pair in pairs:
        write_image(folder / f"{pair.name.rsplit('_mask', 1)[0]}.png", pair.image)
        write_image(folder / f"{pair.name}.png", pair.mask)
    return folder


@dataclass(eq=False)
class EvaluationDataset(Dataset[dict[str, Any]]):
    """Frozen pairs as {"name", "image", "mask"}, tensors as ``TrainingDataset`` has them."""

    pairs: Sequence[EvaluationPair]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        return {"name": pair.name, "image": image_to_tensor(pair.image), "mask": mask_to_tensor(pair.mask)}

"""Masks from files: random ones of a folder, the one of an image, and objects of label maps."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from lama.interfaces import MaskArray
from lama.pictures.images import SUFFIXES, damage_named, list_images
from lama.pictures.masks import MaskReader, notices_about
from lama.pictures.pairing import image_stems, masks_among

logger = logging.getLogger(__name__)

Channel = Literal["auto", "colour", "alpha"]
LOOKED_AT = 50  # files, for the notices at the start of a training


class _MaskFiles:
    """Mask files, and how they are read: the options of ``lama.pictures.MaskReader``."""

    def __init__(self, files: Sequence[Path], invert: bool, threshold: int, channel: Channel) -> None:
        self.files = files
        self.reader = MaskReader(invert, threshold, channel=channel, key="masks")

    def notices(self) -> list[str]:
        """Warnings about a sample of the masks: inverted, faint or empty ones."""
        return notices_about(self.reader, self.files[:: -(-len(self.files) // LOOKED_AT)])


class MaskFolder(_MaskFiles):
    """A random mask of a folder, resized to the image; ``(rng, height, width) -> bool (H, W)``, True = hole.

    If some files have names of masks (``lama.pictures.pairing.is_mask``), as in an evaluation set, only these are used.
    With ``flip``, masks are mirrored horizontally and vertically, each with probability 1/2. Unreadable files are
    skipped with a warning. Raises FileNotFoundError or ValueError if the folder is missing or empty or no file can be
    read.
    """

    def __init__(
        self,
        path: str,
        flip: bool = True,
        invert: bool = False,  # True: black = hole
        threshold: int = 0,  # 0..254: brighter pixels are the hole
        channel: Channel = "auto",
    ) -> None:
        files = _list(path)
        masks = [mask for _, mask in masks_among(files, Path(path).expanduser())]
        super().__init__(masks or files, invert, threshold, channel)
        self.flip = flip

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        mask = self._read(int(rng.integers(len(self.files))))
        mask = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).view(np.bool_)
        if self.flip:
            vertical, horizontal = rng.random(2) < 0.5
            mask = mask[:: -1 if vertical else 1, :: -1 if horizontal else 1]
        return np.ascontiguousarray(mask)

    def _read(self, index: int) -> MaskArray:
        """The mask ``index``, or the next readable one: a damaged file must not end a training."""
        for file in (*self.files[index:], *self.files[:index]):
            try:
                return self.reader.hole(file)[0]
            except (ValueError, OSError) as error:
                last = str(error)
                _warn_once(last)
        raise ValueError(f"masks.path: none of {len(self.files)} masks can be read; {last}")


class PairedMasks(_MaskFiles):
    """The mask of each image, by name: ``path/NAME.png``, or a random one of ``path/NAME_mask*.png``.

    Masks of images in sub-folders lie in the same sub-folders of ``path``. The mask is cropped and distorted with its
    image. Raises FileNotFoundError or ValueError if the folder is missing or empty.
    """

    def __init__(self, path: str, invert: bool = False, threshold: int = 0, channel: Channel = "auto") -> None:
        files = _list(path)
        self.root = Path(path).expanduser()
        masks = [mask for _, mask in masks_among(files, self.root)]  # with the images in one folder
        super().__init__(masks or files, invert, threshold, channel)
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        for file in files:
            folder = file.parent.relative_to(self.root)
            for stem in image_stems(file.stem, apart=True):
                self.by_name[(folder / stem).as_posix()].append(file)

    def of(self, rng: np.random.Generator, name: str) -> MaskArray:
        """A mask of the image ``name``, at the size of the image. Raises ValueError if there is none."""
        stem = name.rpartition(".")[0] if Path(name).suffix.lower() in SUFFIXES else name
        parts = stem.split("/")
        files = next((self.by_name[key] for i in range(len(parts)) if (key := "/".join(parts[i:])) in self.by_name), [])
        if not files:
            raise ValueError(f"no mask for the image {name}: expected {self.root / stem}.png or ..._mask000.png")
        return self.reader.hole(files[int(rng.integers(len(files)))])[0]

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        raise ValueError("masks: paired masks cannot be drawn without an image; use masks=from_folder")


class Objects:
    """Shapes of objects from label maps, moved; ``(rng, height, width) -> bool (H, W)``, True = hole.

    A label map has one value (or colour) per instance or class and 0 for the background; with ``connected`` each
    connected region of a class is an object. The shape is mirrored with probability 1/2, scaled to its share of the
    image times 1 +- ``scale_change``, and placed with at most ``max_hidden`` of its area outside of the image.
    Raises FileNotFoundError or ValueError if the folder holds no usable label map.
    """

    def __init__(
        self,
        path: str,  # a folder of label maps, PNG
        min_area: float = 0.02,  # share of the image
        max_area: float = 0.3,
        scale_change: float = 0.25,
        max_hidden: float = 0.2,
        connected: bool = True,
        tries: int = 100,
    ) -> None:
        if not 0 < min_area <= max_area <= 1 or not 0 <= scale_change < 1 or not 0 <= max_hidden < 1 or tries < 1:
            raise ValueError(
                "masks.objects: expected 0 < min_area <= max_area <= 1, 0 <= scale_change < 1, 0 <= max_hidden < 1 and "
                f"tries >= 1, got {min_area}, {max_area}, {scale_change}, {max_hidden}, {tries}"
            )
        self.files = _list(path)
        self.min_area = min_area
        self.max_area = max_area
        self.scale_change = scale_change
        self.max_hidden = max_hidden
        self.connected = connected
        self.tries = tries

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray:
        for _ in range(self.tries):
            shape = self._shape(rng, self.files[int(rng.integers(len(self.files)))], height, width)
            if shape is None:
                continue
            mask = self._place(rng, shape, height, width)
            if self.min_area <= mask.mean() <= self.max_area and mask.sum() >= (1 - self.max_hidden) * shape.sum():
                return mask
        if all(_unreadable(file) for file in self.files):
            raise ValueError(f"{self.files[0]}: not a readable label map; no file of {len(self.files)} is")
        raise ValueError(
            f"masks.objects: none of {self.tries} objects of {self.files[0].parent} covers between "
            f"{self.min_area:.0%} and {self.max_area:.0%} of {width} x {height} pixels; widen min_area and max_area"
        )

    def _shape(self, rng: np.random.Generator, file: Path, height: int, width: int) -> MaskArray | None:
        """A random object of ``file``, cut to its bounding box and scaled to the image; None if there is none."""
        try:
            labels = _read_labels(str(file))
        except ValueError as error:
            _warn_once(str(error))
            return None
        present = [value for value in np.unique(labels).tolist() if value != 0]
        if not present:
            return None
        shape = (labels == present[int(rng.integers(len(present)))]).astype(np.uint8)
        if self.connected:
            n, regions = cv2.connectedComponents(shape)
            shape = (regions == int(rng.integers(1, n))).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(shape)
        shape = shape[y : y + h, x : x + w]
        factor = min(height / labels.shape[0], width / labels.shape[1])
        factor *= rng.uniform(1 - self.scale_change, 1 + self.scale_change)
        size = max(1, round(w * factor)), max(1, round(h * factor))
        shape = cv2.resize(shape, size, interpolation=cv2.INTER_NEAREST)
        return (shape[:, ::-1] if rng.random() < 0.5 else shape).view(np.bool_)

    def _place(self, rng: np.random.Generator, shape: MaskArray, height: int, width: int) -> MaskArray:
        mask = np.zeros((height, width), np.bool_)
        h, w = shape.shape
        top = int(rng.integers(-int(h * self.max_hidden), max(0, height - h) + int(h * self.max_hidden) + 1))
        left = int(rng.integers(-int(w * self.max_hidden), max(0, width - w) + int(w * self.max_hidden) + 1))
        part = shape[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
        top, left = max(0, top), max(0, left)
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        return mask


def _unreadable(file: Path) -> bool:
    try:
        _read_labels(str(file))
    except ValueError:
        return True
    return False


@lru_cache(maxsize=1024)
def _warn_once(text: str) -> None:
    logger.warning("masks: %s (skipped)", text)


@lru_cache(maxsize=8)
def _read_labels(file: str) -> np.ndarray[Any, Any]:
    """Labels (H, W): one number per value or colour."""
    with damage_named(file):
        image = cv2.imread(file, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{file}: not a readable label map; repair, replace or remove it")
    if image.ndim == 2:
        return image
    return image[..., :3].astype(np.int32) @ np.array([1, 256, 65536], np.int32)


def _list(path: str) -> list[Path]:
    """The image files below ``path``; errors name the configuration key."""
    try:
        return list_images(path)
    except (OSError, ValueError) as error:
        raise type(error)(f"masks.path={path}: {error}") from error

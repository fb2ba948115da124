"""Several folders, lists and shards as one source of images, each drawn from with a weight."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lama.data.shards import TarShards
from lama.data.sources import ImageFolder, ImageList, Subset, known_names, known_paths
from lama.interfaces import ImageArray, ImageSource

SAMPLES = 1000  # a cycle, in which every part has exactly its share, has about as many


class Mixture:
    """The images of all parts, one part after the other; the names begin with the name of the part.

    ``path`` is {NAME: {"path": a folder, a list or tar shards, "weight": a whole number}}, or one such place alone. A
    part of weight 3 gives three times as many samples as one of weight 1, however many images it has. ``white``: as in
    ``ImageFolder``. Raises ValueError for other settings, and as the sources of the parts.
    """

    mixes = True  # its path may be a mapping

    def __init__(self, path: str | Mapping[str, Any], white: int | None = None) -> None:
        parts = path if isinstance(path, Mapping) else {"": {"path": path}}
        if not parts:
            raise ValueError("data.path={}: expected {NAME: {path: FOLDER, weight: 3}, ...}")
        self.parts = list(parts)
        self.sources, self.weights = [], []
        for name, part in parts.items():
            place, weight = _checked(name, part)
            self.sources.append(open_place(place, white))
            self.weights.append(weight)
        self.ends = np.cumsum([len(source) for source in self.sources]).tolist()
        named = zip(self.parts, map(known_names, self.sources), strict=True)
        self.names = [_joined(part, name) for part, names in named for name in names]
        paths = [known_paths(source) for source in self.sources]
        self.paths = [path for each in paths for path in each] if all(paths) else []

    def __len__(self) -> int:
        return int(self.ends[-1])

    def part_of(self, index: int) -> int:
        """The number of the part of an image."""
        return int(np.searchsorted(self.ends, index, side="right"))

    def __getitem__(self, index: int) -> tuple[str, ImageArray]:
        part = self.part_of(index)
        name, image = self.sources[part][index - (self.ends[part - 1] if part else 0)]
        return _joined(self.parts[part], name), image


def open_place(path: str, white: int | None = None) -> ImageSource:
    """The source of a folder of images, of ``.tar`` files (one, several by braces, a folder of them), or of a list."""
    place = Path(path).expanduser()
    if "{" in path or place.suffix == ".tar" or (place.is_dir() and any(place.glob("*.tar"))):
        return TarShards(path, white)
    return ImageList(path, white) if place.is_file() else ImageFolder(path, white)


class MixedPasses:
    """The order of samples from several parts: position in the training -> (pass over its part, image).

    In every cycle each part has exactly its share, in an order that is a function of (seed, number of the cycle). Each
    part is passed through by itself, in a new order for every pass. ``images``: the indices of each part, by its name.
    """

    def __init__(self, images: Mapping[str, Sequence[int]], weights: Sequence[int], seed: int) -> None:
        self.images = list(images.values())
        shares = (100 * weight / sum(weights) for weight in weights)
        self.text = ", ".join(f"{share:.3g} % {name}" for share, name in zip(shares, images, strict=True))
        repeats = max(1, SAMPLES // sum(weights))
        self.cycle = np.repeat(np.arange(len(weights)), np.array(weights) * repeats)
        self.counts = np.bincount(self.cycle)
        self.seed = seed
        self._cycle: tuple[int, Any, Any] = (-1, None, None)
        self._orders: dict[int, tuple[int, list[int]]] = {}

    def __call__(self, position: int) -> tuple[int, int]:
        number, offset = divmod(position, len(self.cycle))
        if self._cycle[0] != number:
            parts = np.random.default_rng([self.seed, number, len(self.counts)]).permutation(self.cycle)
            before = np.zeros_like(parts)  # samples of the same part in this cycle, before each
            for part in range(len(self.counts)):
                before[parts == part] = np.arange(self.counts[part])
            self._cycle = (number, parts, before)
        _, parts, before = self._cycle
        part = int(parts[offset])
        pass_, place = divmod(number * int(self.counts[part]) + int(before[offset]), len(self.images[part]))
        if self._orders.get(part, (-1,))[0] != pass_:
            order = np.random.default_rng([self.seed, pass_, part, 1]).permutation(len(self.images[part]))
            self._orders[part] = (pass_, order.tolist())
        return pass_, self.images[part][self._orders[part][1][place]]


def mixed_passes(images: ImageSource, seed: int) -> MixedPasses | None:
    """The order for ``images``, if they are a ``Mixture`` or a subset of one. Raises ValueError for an empty part."""
    mixture = images.source if isinstance(images, Subset) else images
    if not isinstance(mixture, Mixture):
        return None
    indices = images.indices if isinstance(images, Subset) else range(len(images))
    parts: list[list[int]] = [[] for _ in mixture.parts]
    for place, index in enumerate(indices):
        parts[mixture.part_of(index)].append(place)
    empty = next((name for name, images_of in zip(mixture.parts, parts, strict=True) if not images_of), None)
    if empty is not None:
        raise ValueError(f"data.path.{empty}: no image is left to train on; give data.val_path or data.val_pairs")
    return MixedPasses(dict(zip(mixture.parts, parts, strict=True)), mixture.weights, seed)


def _checked(name: str, part: Any) -> tuple[str, int]:
    """The place and the weight of a part."""
    key = f"data.path.{name}" if name else "data.path"
    unknown = [one for one in part if one not in ("path", "weight")] if isinstance(part, Mapping) else []
    if unknown:
        raise ValueError(f"{key}.{unknown[0]}: unknown key; a part has path and weight: {{path: FOLDER, weight: 3}}")
    if not isinstance(part, Mapping) or not part.get("path"):
        raise ValueError(f"{key}={part}: expected {{path: FOLDER, weight: 3}}")
    weight = part.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= SAMPLES:
        raise ValueError(f"{key}.weight={weight}: expected a whole number from 1 to {SAMPLES}, such as 3 and 1 for "
                         "three quarters and one quarter")  # fmt: skip
    return str(part["path"]), weight


def _joined(part: str, name: str) -> str:
    return f"{part}/{name}" if part else name

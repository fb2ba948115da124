"""Images that are nearly the same: copies of another size, quality or format, found by their difference hash."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from lama.pictures.images import quiet_pillow

SIDE = 8  # a hash compares 8 x 8 neighbours to the right, and as many below
MOST = 7  # bits of 128 that may differ; one of 8 parts of 16 bits is equal then
STEP = 2  # grey levels that count as a difference: less is the noise of a compression
FEWEST = 12  # bits that are set; flat images all look alike
Hash = NDArray[np.uint16]  # (8,), 128 bits


def difference_hash(path: Path) -> Hash | None:
    """Which neighbours of the image at 9 x 9 pixels are brighter; None for a flat image and one that cannot be read.

    Sizes, compression and small changes of brightness leave most of the 128 bits as they are.
    """
    try:
        with quiet_pillow(), Image.open(path) as image:
            image.draft("L", (16 * SIDE, 16 * SIDE))  # a JPEG is decoded at a fraction of its size
            small = ImageOps.exif_transpose(image).convert("L").resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX)
    except Exception:  # Pillow raises errors of many types; other checks name the file
        return None
    grey = np.asarray(small, int)
    right, down = np.diff(grey, axis=1)[:SIDE] > STEP, np.diff(grey, axis=0)[:, :SIDE] > STEP
    bits = np.concatenate([right.ravel(), down.ravel()])
    return np.packbits(bits).view(np.uint16) if bits.sum() >= FEWEST else None


def near_duplicates(train: Iterable[Path], val: Iterable[Path]) -> list[tuple[Path, Path, int]]:
    """(image of ``val``, image of ``train``, differing bits) of each pair that differs in at most 7 of 128 bits."""
    known: list[tuple[Path, Hash]] = []
    by_part: dict[tuple[int, int], list[int]] = defaultdict(list)
    for path in tqdm(list(train), desc="hashes", unit="image", leave=False, delay=5):
        found = difference_hash(path)
        if found is not None:
            for part in enumerate(found.tolist()):
                by_part[part].append(len(known))
            known.append((path, found))
    pairs = []
    for path in val:
        found = difference_hash(path)
        if found is None:
            continue
        candidates = {index for part in enumerate(found.tolist()) for index in by_part.get(part, ())}
        for index in sorted(candidates):
            distance = int(np.unpackbits((found ^ known[index][1]).view(np.uint8)).sum())
            if distance <= MOST:
                pairs.append((path, known[index][0], distance))
    return pairs

"""What a person should know about their data before a night of training on it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from lama.data.evaluation_set import find_pairs
from lama.data.manifest import Manifest
from lama.data.sources import files_behind
from lama.interfaces import ImageArray
from lama.pictures.images import list_images, read_image, read_mask, upright_size
from lama.verbs import typed

MOSTLY = 0.8  # a hole that covers more than this is more likely a mask of the other polarity
LISTED = 20  # files that are named one by one
WIDTH = 6  # images in a row of the contact sheet


@dataclass
class Findings:
    """Lines for a person, and what is wrong among them."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.lines.append(text)

    def problem(self, text: str) -> None:
        self.problems.append(text)


def check_images(paths: Sequence[Path], crop: int, findings: Findings, decode: bool = True) -> list[Path]:
    """Sizes against the crop, kinds, and files that cannot be read; returns the readable ones.

    With ``decode`` every image is decoded whole, else only its header is read.
    """
    sizes: list[tuple[int, int]] = []
    kinds: Counter[str] = Counter()
    readable, broken = [], []
    for path in tqdm(paths, desc="images", unit="image", leave=False, disable=not decode):
        try:
            with Image.open(path) as header:
                size, mode = upright_size(header), header.mode
            if decode:
                read_image(path)
        except Exception as error:  # Pillow raises whatever a damaged file suggests
            plain = isinstance(error, ValueError) and "not a readable image" in str(error)
            broken.append(str(error) if plain else f"{path}: not a readable image ({type(error).__name__})")
            continue
        sizes.append(size)
        kinds[mode] += 1
        readable.append(path)
    if broken:
        findings.problem(f"{len(broken)} of {len(paths)} images cannot be read")
        for line in broken[:LISTED]:
            findings.problem(line)
    if not readable:
        return readable
    short = [min(size) for size in sizes]
    suffixes = Counter(path.suffix.lower() for path in paths)
    findings.note(f"{len(paths)} images: {_counted(suffixes)}; {_counted(kinds)}")
    findings.note(f"shorter side: {min(short)} to {max(short)} pixels, median {median(short):.0f}")
    small = sum(side < crop for side in short)
    if small:
        share = small / len(short)
        text = f"{small} images ({share:.0%}) are smaller than the crop of {crop}: they are extended by reflection"
        (findings.problem if share > 0.1 else findings.note)(text)
    return readable


def check_pairs(root: Path, findings: Findings, limit: int | None = None) -> list[tuple[Path, Path]]:
    """Masks without images, of other sizes, of the wrong polarity, empty or full; returns the pairs that are fine."""
    pairs = list(find_pairs(root))
    if limit is not None:
        pairs = _spread(pairs, limit)
    areas, good = [], []
    for image, mask in tqdm(pairs, desc="masks", unit="mask", leave=False, disable=limit is not None):
        if image is None:
            findings.problem(f"{mask}: mask without an image")
            continue
        try:
            hole = read_mask(mask)
            with Image.open(image) as header:
                size = upright_size(header)
            if limit is None:
                read_image(image)
        except Exception as error:  # Pillow raises whatever a damaged file suggests
            findings.problem(str(error) if isinstance(error, ValueError) else f"{image}: not a readable image")
            continue
        if hole.shape != size[::-1]:
            shape = f"{hole.shape[1]} x {hole.shape[0]}"
            findings.problem(f"{mask}: mask is {shape}, its image {size[0]} x {size[1]} pixels")
            continue
        areas.append(float(hole.mean()))
        good.append((image, mask))
        if areas[-1] in (0.0, 1.0):
            findings.problem(f"{mask}: {'nothing' if areas[-1] == 0 else 'all'} is hole")
    if areas:
        findings.note(f"{len(pairs)} masks, hole {np.mean(areas):.1%} on average, {min(areas):.1%} to {max(areas):.1%}")
        inverted = sum(area > MOSTLY for area in areas)
        if inverted > len(areas) / 2:
            findings.problem(
                f"{inverted} of {len(areas)} masks hide more than {MOSTLY:.0%}: white is what goes; are they inverted?"
            )
    return good


def check_duplicates(train: Iterable[Path], val: Iterable[Path], findings: Findings) -> None:
    """The same file in both: a score on it says nothing. Files are compared by size first, then by content."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in train:
        by_size[path.stat().st_size].append(path)
    same = [
        (path, other)
        for path in val
        for other in by_size.get(path.stat().st_size, ())
        if _digest(path) == _digest(other)
    ]
    if same:
        findings.problem(f"{len(same)} images are in training and validation, first {same[0][0]} = {same[0][1]}")


def quick_check(source: Any, pairs: Any, crop: int) -> Findings:
    """What of the above takes seconds at the start of a training, on evenly spaced samples of its sources."""
    findings = Findings()
    paths = files_behind(source)
    like_masks = [path for path in paths if "_mask" in path.stem]
    if like_masks:
        findings.problem(
            f"{len(like_masks)} of {len(paths)} images to train on are named like masks, such as {like_masks[0].name}"
        )
    if paths:
        check_images(_spread(paths, 200), crop, findings, decode=False)
    root = getattr(pairs, "root", None)
    if root is not None:
        check_pairs(root, findings, limit=50)
        if len(paths) < 20000:
            check_duplicates(paths, {image for image, _ in pairs.paths}, findings)
    return findings


def check_folder(root: Path, crop: int = 256) -> tuple[Findings, ImageArray | None, list[str]]:
    """Everything about ``root``: images, or train/ and val/ as in the official layout.

    Returns findings, a contact sheet (H, W, 3) and the overrides to train on it. Raises FileNotFoundError or ValueError
    where there is nothing to look at.
    """
    findings = Findings()
    train, val = (root / "train", root / "val") if (root / "train").is_dir() else (root, None)
    masks = {mask for image, mask in _pairs_of(train) if image is not None} if val is None else set()
    images = check_images([path for path in list_images(train) if path not in masks], crop, findings)
    pairs: list[tuple[Path, Path]] = []
    if masks:
        pairs = check_pairs(train, findings)
    if val is not None and val.is_dir():
        held_out = {image for image, _ in _pairs_of(val) if image is not None}
        if held_out:
            pairs = check_pairs(val, findings)
        else:
            findings.problem(
                f"{val}: images without masks; make pairs of them with {typed('masks')}, or train with "
                f"data=folder data.path={train} data.val_path={val}"
            )
            held_out = set(check_images(list_images(val), crop, findings))
        check_duplicates(images, held_out, findings)
    elif val is not None:
        findings.problem(f"{val}: no such folder; make it with {typed('masks')}, or train with data=folder")
    for manifest in Manifest.below(root):
        findings.problems += [f"{manifest.root / name}: missing or changed" for name in manifest.damaged()[:LISTED]]
    sheet = contact_sheet([read_image(p) for p in _spread(images, 2 * WIDTH)], _spread(pairs, WIDTH))
    return findings, sheet, _to_paste(root, val, bool(masks))


def _pairs_of(folder: Path) -> list[tuple[Path | None, Path]]:
    """Images and masks of a folder; none where no file is named like a mask."""
    if not any("mask" in path.stem for path in list_images(folder)):
        return []
    return list(find_pairs(folder))


def _to_paste(root: Path, val: Path | None, has_masks: bool) -> list[str]:
    if has_masks:
        return [f"{typed('evaluate')} indir={root} model.path=MODEL outdir=OUT"]
    if val is not None and val.is_dir():
        return [f"{typed('train')} -cn lama-fourier location=my_dataset location.data_root_dir={root}"]
    folder = root if val is None else root / "train"
    return [f"{typed('train')} -cn lama-fourier data=folder data.path={folder}"]


def contact_sheet(
    images: Sequence[ImageArray], pairs: Sequence[tuple[Path, Path]], side: int = 160
) -> ImageArray | None:
    """Thumbnails in rows, images first, then pairs with the hole in pink; None where there are none."""
    tiles = [_thumbnail(image, side) for image in images]
    for image, mask in pairs:
        pixels, hole = read_image(image), read_mask(mask)
        tiles.append(_thumbnail(np.where(hole[..., None], np.array([236, 72, 153], np.uint8), pixels), side))
    if not tiles:
        return None
    tiles += [np.full((side, side, 3), 255, np.uint8)] * (-len(tiles) % WIDTH)
    rows = [np.concatenate(tiles[i : i + WIDTH], axis=1) for i in range(0, len(tiles), WIDTH)]
    return np.concatenate(rows)


def _thumbnail(image: ImageArray, side: int) -> ImageArray:
    small = Image.fromarray(image)
    small.thumbnail((side - 4, side - 4))
    tile = Image.new("RGB", (side, side), (255, 255, 255))
    tile.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return np.asarray(tile)


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """Up to ``count`` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int).tolist()]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()

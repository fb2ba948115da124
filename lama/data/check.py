"""Checks of images, masks and splits before a training."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from tqdm import tqdm

from lama.data.duplicates import near_duplicates
from lama.data.evaluation_set import PairFolder
from lama.data.manifest import Manifest
from lama.data.sources import evenly_spaced, known_paths
from lama.files import sha256_of
from lama.interfaces import EvaluationSet, FileMaskSampler, ImageArray, ImageSource, MaskSampler
from lama.pages import with_hole
from lama.pictures.images import list_images, open_header, read_image, too_large, upright_size
from lama.pictures.masks import MaskReader, read_mask
from lama.pictures.notices import Notices
from lama.pictures.pairing import find_pairs, is_mask, masks_among
from lama.pictures.reading import nearly_black, unread_bands
from lama.verbs import setting, typed

MANY = 0.25  # share of the masks; a warning about more of them is a problem
DARK_SAMPLE = 20  # images; a check that reads headers only decodes this many to find scans of 12 bits, which look black
LISTED = 20  # damaged files that are listed by name
WIDTH = 6  # images in a row of the contact sheet


@dataclass
class Findings:
    """The result of a check: facts in ``lines``, mistakes in ``problems``."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_images(
    paths: Sequence[Path], crop: int, findings: Findings, decode: bool = True, white: int | None = None
) -> list[Path]:
    """Report sizes, formats, bands and bits that are not read, and unreadable files; returns the readable ones.

    ``decode``: read more than headers. With ``white``, images of 12 bits are read well.
    """
    sizes: list[tuple[int, int]] = []
    kinds: Counter[str] = Counter()
    readable, broken, bands, dark = [], [], Notices(log=False), Notices(log=False)
    numbers = range(len(paths))
    deep = set(() if white is not None else numbers if decode else evenly_spaced(numbers, DARK_SAMPLE))
    for number, path in enumerate(tqdm(paths, desc="images", unit="image", leave=False, disable=not decode)):
        try:
            with open_header(path) as header:
                size, mode = upright_size(header), header.mode
                for text in unread_bands(header):
                    bands.add(text, str(path))
                for text in nearly_black(path, header, "data.white") if number in deep else ():
                    dark.add(text, str(path))
            if decode:
                read_image(path)
        except Image.DecompressionBombError:
            broken.append(f"{path}: {too_large()}")
            continue
        except Exception as error:  # Pillow raises errors of many types for damaged files
            plain = isinstance(error, ValueError) and "not a readable image" in str(error)
            broken.append(str(error) if plain else f"{path}: not a readable image ({type(error).__name__})")
            continue
        sizes.append(size)
        kinds[mode] += 1
        readable.append(path)
    if broken:
        findings.problems.append(f"{len(broken)} of {len(paths)} images cannot be read")
        findings.problems += broken[:LISTED]
    if not readable:
        return readable
    for notices, looked_at in ((bands, paths), (dark, deep)):
        for text, names in notices.names.items():
            findings.problems.append(f"{len(names)} of {len(looked_at)} images, first {names[0]}: {text}")
    short = [min(size) for size in sizes]
    suffixes = Counter(path.suffix.lower() for path in paths)
    findings.lines.append(f"{len(paths)} images: {_counted(suffixes)}; {_counted(kinds)}")
    findings.lines.append(f"shorter side: {min(short)} to {max(short)} pixels, median {median(short):.0f}")
    small = sum(side < crop for side in short)
    if small:
        share = small / len(short)
        text = f"{small} images ({share:.0%}) are smaller than the crop of {crop}: they are extended by reflection"
        (findings.problems if share > 0.1 else findings.lines).append(text)
    return readable


def check_pairs(root: Path, findings: Findings, limit: int | None = None) -> list[tuple[Path, Path]]:
    """Report masks without an image, of another size, inverted, empty or full; returns the valid (image, mask) pairs.

    ``limit`` checks only so many evenly spaced pairs, without decoding the images.
    """
    pairs = list(find_pairs(root))
    if limit is not None:
        pairs = evenly_spaced(pairs, limit)
    areas, good, notices = [], [], Notices(log=False)
    for image, mask in tqdm(pairs, desc="masks", unit="mask", leave=False, disable=limit is not None):
        if image is None:
            findings.problems.append(f"{mask}: mask without an image")
            continue
        try:
            hole, warnings = MaskReader().hole(mask)
            with open_header(image) as header:
                size = upright_size(header)
            if limit is None:
                read_image(image)
        except Exception as error:  # Pillow raises errors of many types for damaged files
            findings.problems.append(str(error) if isinstance(error, ValueError) else f"{image}: not a readable image")
            continue
        if hole.shape != size[::-1]:
            shape = f"{hole.shape[1]} x {hole.shape[0]}"
            findings.problems.append(f"{mask}: mask is {shape}, its image {size[0]} x {size[1]} pixels")
            continue
        areas.append(float(hole.mean()))
        good.append((image, mask))
        if areas[-1] in (0.0, 1.0):
            findings.problems.append(f"{mask}: {'no pixel' if areas[-1] == 0 else 'every pixel'} is hole")
        for warning in warnings if areas[-1] > 0 else ():
            notices.add(warning, str(mask))
    if areas:
        spread = f"{np.mean(areas):.1%} on average, {min(areas):.1%} to {max(areas):.1%}"
        findings.lines.append(f"{len(pairs)} masks, hole {spread}")
    for warning, names in notices.names.items():
        text = f"{len(names)} of {len(pairs)} masks, first {names[0]}: {warning}"
        (findings.problems if len(names) > MANY * len(pairs) else findings.lines).append(text)
    return good


def check_duplicates(train: Iterable[Path], val: Iterable[Path], findings: Findings) -> None:
    """Report files that are in both sets, since scores on them mean nothing. Compares sizes first, then contents."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in train:
        by_size[path.stat().st_size].append(path)
    same = [
        (path, other)
        for path in val
        for other in by_size.get(path.stat().st_size, ())
        if sha256_of(path) == sha256_of(other)
    ]
    if same:
        first = f"first {same[0][0]} = {same[0][1]}"
        findings.problems.append(f"{len(same)} images are in training and validation, {first}")


def check_near_duplicates(train: Sequence[Path], val: Iterable[Path], findings: Findings) -> None:
    """Name images of the validation that are another size or compression of an image to train on."""
    pairs = [(a, b) for a, b, _ in near_duplicates(train, val) if sha256_of(a) != sha256_of(b)]
    if pairs:
        findings.problems.append(f"{len({a for a, _ in pairs})} images of the validation look like images to train on: "
                                 "look at them, and remove the copies")  # fmt: skip
        findings.problems += [f"  {a} looks like {b}" for a, b in pairs[:LISTED]]


def quick_check(
    source: ImageSource, pairs: EvaluationSet, crop: int, masks: MaskSampler | None = None, white: int | None = None
) -> Findings:
    """The checks that take seconds, on evenly spaced samples, for the start of a training with these data."""
    findings = Findings()
    paths = known_paths(source)
    like_masks = [path for path in paths if is_mask(path)]
    if like_masks:
        many = f"{len(like_masks)} of {len(paths)} images to train on"
        findings.problems.append(f"{many} are named like masks, such as {like_masks[0].name}")
    if paths:
        check_images(evenly_spaced(paths, 200), crop, findings, decode=False, white=white)
    for part in _with_parts(masks):
        if isinstance(part, FileMaskSampler):
            findings.problems += [f"masks: {notice}" for notice in part.notices()]
    if isinstance(pairs, PairFolder):
        check_pairs(pairs.root, findings, limit=50)
        if len(paths) < 20000:
            check_duplicates(paths, {image for image, _ in pairs.paths}, findings)
    return findings


def _with_parts(masks: object) -> Iterator[object]:
    """A mask sampler and those that it draws from, as ``Mixture`` and ``Growing`` do."""
    yield masks
    for part in (getattr(masks, "sampler", None), *getattr(masks, "samplers", ())):
        if part is not None:
            yield from _with_parts(part)


def check_folder(root: Path, crop: int = 256) -> tuple[Findings, ImageArray | None, list[str]]:
    """All checks of ``root``: a folder of images, of pairs, or with train/ and val/ as in the official layout.

    Returns the findings, a contact sheet (H, W, 3) and commands to continue with. Raises FileNotFoundError or
    ValueError if there is no image.
    """
    findings, root = Findings(), root.expanduser()
    train, val = (root / "train", root / "val") if (root / "train").is_dir() else (root, None)
    files = list_images(train)
    masks = {mask for image, mask in masks_among(files, train) if image is not None} if val is None else set()
    images = check_images([path for path in files if path not in masks], crop, findings)
    pairs = check_pairs(train, findings) if masks else []
    if val is not None and val.is_dir():
        held_out = {image for image, _ in masks_among(list_images(val), val) if image is not None}
        if held_out:
            pairs = check_pairs(val, findings)
        else:
            findings.problems.append(
                f"{val}: images without masks; make pairs with {typed('masks')}, or train with "
                f"data=folder data.path={train} data.val_path={val}"
            )
            held_out = set(check_images(list_images(val), crop, findings))
        check_duplicates(images, held_out, findings)
        check_near_duplicates(images, sorted(held_out), findings)
    elif val is not None:
        findings.problems.append(f"{val}: no such folder; make it with {typed('masks')}, or train with data=folder")
    for manifest in Manifest.below(root):
        findings.problems += [f"{manifest.root / name}: missing or changed" for name in manifest.damaged()[:LISTED]]
    sheet = contact_sheet([read_image(p) for p in evenly_spaced(images, 2 * WIDTH)], evenly_spaced(pairs, WIDTH))
    return findings, sheet, _to_paste(root, val, bool(masks))


def _to_paste(root: Path, val: Path | None, has_masks: bool) -> list[str]:
    """Commands that run as they are, without a file to fetch."""
    if has_masks:
        return [f"{typed('evaluate')} {setting('indir', root)} model.path=small outdir=OUT metrics=quick"]
    if val is not None and val.is_dir():
        data = f"data=places {setting('location.data_root_dir', root)}"
    else:
        data = f"data=folder {setting('data.path', root if val is None else root / 'train')}"
    return [f"{typed('train')} -cn demo {data} run_title=mine"]


def contact_sheet(
    images: Sequence[ImageArray], pairs: Sequence[tuple[Path, Path]], side: int = 160
) -> ImageArray | None:
    """Thumbnails in rows: images, then pairs with the hole in pink; None if there are none."""
    holes = (with_hole(read_image(image), read_mask(mask)) for image, mask in pairs)
    tiles = [_thumbnail(image, side) for image in (*images, *holes)]
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


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())

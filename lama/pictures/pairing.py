"""The one rule for mask files: which names are masks, and which image each mask belongs to."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lama.pictures.images import header_size, list_images


def is_mask(path: str | Path) -> bool:
    """Whether a file name belongs to a mask: ``NAME_mask``, ``NAME_mask001``, ``mask_1``.

    ``damask``, ``unmasked``, ``a_masked`` and ``gas mask`` are names of images.
    """
    return re.search(r"_mask(?!ed)|^mask", os.path.splitext(os.path.basename(path))[0]) is not None


def image_stems(mask: str, apart: bool) -> list[str]:
    """The names, without suffix, that the image of the mask with stem ``mask`` may have; the first that exists counts.

    ``apart`` means that masks lie in a folder of their own, where a mask may have the name of its image.
    """
    stems = [mask] if apart else []
    if "_mask" in mask:
        stems.append(mask.rsplit("_mask", 1)[0])
    return list(dict.fromkeys([*stems, mask.replace("mask", "image")]))


def masks_among(files: Sequence[Path], root: Path, img_suffix: str | None = None) -> list[tuple[Path | None, Path]]:
    """(image, mask) of each of the ``files`` below ``root`` that is a mask; the image is None if it is missing."""
    return match_masks([path for path in files if is_mask(path)], root, files, root, img_suffix)


def find_pairs(root: Path, img_suffix: str | None = None) -> Iterator[tuple[Path | None, Path]]:
    """(image, mask) of each mask below ``root``, sorted; a missing image is None. Raises ValueError without a mask."""
    root = root.expanduser()
    files = list_images(root)
    pairs = masks_among(files, root, img_suffix)
    if not pairs:
        found = f"{len(files)} images such as {files[0].name} and no mask"
        raise ValueError(f"{root}: expected masks (NAME_mask000.png for NAME.png), found {found}")
    yield from pairs


def match_masks(
    masks: Sequence[Path], mask_root: Path, files: Sequence[Path], root: Path, img_suffix: str | None = None
) -> list[tuple[Path | None, Path]]:
    """(image, mask) of each of the ``masks`` below ``mask_root``; images are searched in ``files`` below ``root``.

    A file that is the image of another mask is no mask itself, unless it has an image too. ``img_suffix``: only files
    whose names end with it are images, as ``.jpeg`` or ``_input.png`` of the official code.
    """
    if img_suffix:
        ended = {name_below(root, path): path for path in files}
        bare = [os.path.splitext(name_below(mask_root, mask))[0] for mask in masks]
        names = [re.sub(r"_mask[^/]*$", "", name) + img_suffix for name in bare]
        return [(ended.get(name), mask) for name, mask in zip(names, masks, strict=True)]
    by_stem = {os.path.splitext(name_below(root, path))[0]: path for path in files}
    apart = mask_root.resolve() != root.resolve()
    images: dict[Path, Path | None] = {}
    for mask in masks:
        folder, slash, own = os.path.splitext(name_below(mask_root, mask))[0].rpartition("/")
        stems = (folder + slash + stem for stem in image_stems(own, apart) if stem)
        images[mask] = next((by_stem[stem] for stem in stems if stem in by_stem), None)
    claimed = set(images.values())
    # an image may have "mask" in its name, as carnival_mask.png
    return [(image, mask) for mask, image in images.items() if image is not None or mask not in claimed]


def name_below(root: Path, path: Path) -> str:
    """The name of ``path``, which lies below ``root``, relative to it, with slashes; faster than ``relative_to``."""
    name, start = path.as_posix(), root.as_posix()
    return name if start == "." else name[len(start) + (not start.endswith("/")) :]


def find_clean_plates(images: Iterable[Path], files: Iterable[Path], ending: str) -> dict[Path, Path]:
    """The clean plate of each of the ``images``, among ``files``: its name and ``ending``, with any suffix.

    Raises FileNotFoundError for an image that has none.
    """
    by_stem = {path.with_suffix(""): path for path in files}
    plates = {image: by_stem.get(image.with_name(image.stem + ending)) for image in images}
    for image, plate in plates.items():
        if plate is None:
            name = f"{image.stem}{ending}{image.suffix}"
            raise FileNotFoundError(f"{image}: no clean plate beside it; truth={ending} expects {name}")
    return {image: plate for image, plate in plates.items() if plate is not None}


def preview_names(names: Sequence[object], most: int) -> str:
    """The first ``most`` names, for a message."""
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")


def with_others(error: ValueError, files: Iterable[Path]) -> ValueError:
    """``error`` about one of ``files``, which also names the others that cannot be opened, by their headers alone."""
    others = [file for file in dict.fromkeys(files) if header_size(file) == (0, 0) and str(file) not in str(error)]
    more = f"; {len(others)} more cannot be opened: {preview_names(others, 5)}" if others else ""
    return ValueError(f"{error}{more}")

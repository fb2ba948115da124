"""Which mask belongs to which image, by file name."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lama.pictures.images import list_images


def find_pairs(root: Path) -> Iterator[tuple[Path | None, Path]]:
    """(image, mask) paths below ``root``, sorted; the image is None where there is none for a mask."""
    root = root.expanduser()
    files = list_images(root)
    masks = [path for path in files if "mask" in path.stem]
    if not masks:
        raise ValueError(f"{root}: expected masks (*mask*) beside {len(files)} images such as {files[0].name}")
    yield from match_masks(masks, root, files, root)


def match_masks(
    masks: Sequence[Path], mask_root: Path, files: Sequence[Path], root: Path
) -> list[tuple[Path | None, Path]]:
    """(image, mask) paths: to each mask below ``mask_root`` that of ``files``, below ``root``, which has its name.

    Masks in a folder of their own may have the very name of their image, suffix apart.
    """
    by_stem = {path.relative_to(root).with_suffix(""): path for path in files}
    apart = mask_root.resolve() != root.resolve()
    images = {mask: _image_of(mask.relative_to(mask_root).with_suffix(""), by_stem, apart) for mask in masks}
    claimed = set(images.values())
    # an image may have "mask" in its name, as carnival_mask.png
    return [(image, mask) for mask, image in images.items() if image is not None or mask not in claimed]


def _image_of(mask: Path, by_stem: dict[Path, Path], apart: bool) -> Path | None:
    """The image that goes with a mask, by its path without suffix."""
    stems = [mask.name.replace("mask", "image")]
    if "_mask" in mask.name:
        stems.insert(0, mask.name.rsplit("_mask", 1)[0])
    if apart:
        stems.insert(0, mask.name)
    return next((by_stem[mask.parent / stem] for stem in stems if mask.parent / stem in by_stem), None)

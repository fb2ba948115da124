"""Published test sets in our layout: ``name.png``, ``name_mask.png`` and, with a clean plate, ``name_gt.png``.

Images and clean plates keep their bytes unless the published code crops or resizes them. Masks are written as PNG,
white = hole, by the rule of the published code.
"""

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from lama.data.evaluation_set import CLEAN_PLATE, PairFolder
from lama.files import atomic_write, check_writable, read_json
from lama.interfaces import ImageArray, MaskArray
from lama.pictures.images import SUFFIXES, files_below, list_images, open_header, read_image, upright_size, write_image
from lama.pictures.masks import MaskReader

Picture = tuple[str, bytes]  # the name of a file with its suffix, and its content


@dataclass(frozen=True)
class Sample:
    """One image of a set; ``mask`` is bool (H, W), True = hole, or None where the set has no masks."""

    image: Picture
    mask: MaskArray | None
    truth: Picture | None = None


Items = Mapping[str, Callable[[], Sample]]  # by the name that the image gets


@dataclass(frozen=True)
class Folders:
    """A set of folders, in one folder or one zip archive: images, their masks and perhaps clean plates."""

    images: str
    masks: str
    truth: str | None
    reader: MaskReader
    in_order: bool = False  # the i-th mask belongs to the i-th image; else to the image of its name
    crop: int | None = None  # pixels: the central square of each image, reflected below and on the right if smaller

    def items(self, source: Path) -> tuple[Items, list[str]]:
        """The images with all their files, and the names of the others. Raises ValueError where no image has them."""
        folders = [self.images, self.masks, *([self.truth] if self.truth else [])]
        found = [_pictures(source, folder) for folder in folders]
        if self.in_order:
            if len(found[0]) != len(found[1]):
                counts = f"{len(found[0])} images and {len(found[1])} masks"
                raise ValueError(f"{source}: expected as many masks as images, got {counts}")
            found[1] = dict(zip(sorted(found[0]), (found[1][name] for name in sorted(found[1])), strict=True))
        complete = sorted(found[0].keys() & set.intersection(*(set(each) for each in found)))
        if not complete:
            expected = ", ".join(f"{folder}/NAME" for folder in folders)
            counts = ", ".join(f"{len(each)} images in {folder}/" for folder, each in zip(folders, found, strict=True))
            raise ValueError(f"{source}: expected {expected} with one NAME; found {counts}")
        items = {name: partial(self._read, [each[name] for each in found]) for name in complete}
        return items, sorted(found[0].keys() - set(complete))

    def _read(self, readers: Sequence[Callable[[], Picture]]) -> Sample:
        image, mask, *truth = (read() for read in readers)
        if self.crop is not None:
            pixels = read_image(*image)
            if pixels.shape[:2] != (self.crop, self.crop):
                image = _png(image[0], _centre(pixels, self.crop))
        return Sample(image, self.reader.hole(Path(mask[0]), mask[1])[0], truth[0] if truth else None)


def _pictures(source: Path, folder: str) -> dict[str, Callable[[], Picture]]:
    """{name without suffix: a reader} of the images in ``folder`` of a folder or of a zip archive."""
    if source.is_file():
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if Path(name).parent.as_posix() == folder]
        names = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
        return {Path(name).stem: partial(_from_zip, source, name) for name in names}
    if not (source / folder).is_dir():
        return {}
    return {path.stem: partial(_from_file, path) for path in files_below(source / folder) if _is_picture(path)}


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _from_zip(archive: Path, name: str) -> Picture:
    with zipfile.ZipFile(archive) as opened:
        return f"{archive}/{name}", opened.read(name)


def _from_file(path: Path) -> Picture:
    return str(path), path.read_bytes()


def _centre(image: ImageArray, side: int) -> ImageArray:
    below, right = (max(0, side - length) for length in image.shape[:2])
    image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="symmetric")
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _png(name: str, image: ImageArray | Image.Image) -> Picture:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, "PNG")
    return str(Path(name).with_suffix(".png")), buffer.getvalue()


def _ober(subset: str, source: Path, effects: bool) -> tuple[Items, list[str]]:
    """A subset of ObjectClear's test file: a parquet file with input, gt, object_mask and object_effect_mask."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise ValueError("the test sets of ObjectClear need pyarrow: pip install '.[parquet]'") from None
    files = [source] if source.is_file() else sorted(source.rglob("test-*.parquet"))
    if not files:
        raise FileNotFoundError(f"{source}: expected the file test-00000-of-00001.parquet of ObjectClear")
    reader, mask = MaskReader(threshold=127), "object_effect_mask" if effects else "object_mask"
    items: dict[str, Callable[[], Sample]] = {}
    for file in files:
        opened = parquet.ParquetFile(file)

        @lru_cache(maxsize=1)
        def group(number: int, opened: Any = opened) -> list[dict[str, Any]]:
            return opened.read_row_group(number, columns=["input", "gt", mask]).to_pylist()  # type: ignore[no-any-return]

        def read(number: int, row: int, group: Any = group, file: Path = file) -> Sample:
            one = group(number)[row]
            hole, _ = reader.hole(file / f"row {row} of group {number}", one[mask]["bytes"])
            return Sample(_stored(one["input"]), hole, _stored(one["gt"]) if (one["gt"] or {}).get("bytes") else None)

        for number in range(opened.num_row_groups):
            rows = opened.read_row_group(number, columns=["subset", "input"]).to_pylist()
            for row in (row for row, one in enumerate(rows) if one["subset"] == subset):
                name = Path(rows[row]["input"]["path"] or f"{len(items):04d}").stem
                items[name if name not in items else f"{name}_{len(items):04d}"] = partial(read, number, row)
    if not items:
        raise ValueError(f"{source}: no row with subset {subset}")
    return items, []


def _stored(cell: Mapping[str, Any]) -> Picture:
    """The picture of a cell, with a suffix by its format."""
    with open_header(io.BytesIO(cell["bytes"])) as header:
        suffix = {"JPEG": ".jpg"}.get(str(header.format), f".{str(header.format).lower()}")
    return str(Path(cell["path"] or "picture").with_suffix(suffix)), cell["bytes"]


def _brushbench(source: Path) -> tuple[Items, list[str]]:
    """mapping_file.json names images and holds masks as run lengths: start (from 1) and length by turns, row by row."""
    content = read_json(source / "mapping_file.json")

    def read(entry: Mapping[str, Any]) -> Sample:
        runs = np.asarray(entry["inpainting_mask"], np.int64)
        mask = np.zeros(512 * 512, np.bool_)
        for start, length in zip(runs[::2] - 1, runs[1::2], strict=True):
            mask[start : start + length] = True
        return Sample(_from_file(source / entry["image"]), mask.reshape(512, 512))

    return {Path(entry["image"]).stem: partial(read, entry) for entry in content.values()}, []


def _ffhq(source: Path) -> tuple[Items, list[str]]:
    """The validation images of FFHQ, images1024x1024/60000/60000.png to 69999.png, at 256 x 256; it has no masks."""

    def read(path: Path) -> Sample:
        with Image.open(path) as image:
            return Sample(_png(str(path), image.convert("RGB").resize((256, 256), Image.Resampling.LANCZOS)), None)

    found = [path for path in files_below(source) if path.suffix == ".png" and path.stem.isdigit()]
    items = {path.stem: partial(read, path) for path in found if 60000 <= int(path.stem) < 70000}
    if not items:
        raise ValueError(f"{source}: expected images1024x1024/60000/60000.png and others, up to 69999.png")
    return items, []


OBER = {"ober-test": "OBER-Test", "ober-wild": "OBER-Wild", "rord-343": "RORD-Val-343"}
LAYOUTS: dict[str, Callable[[Path], tuple[Items, list[str]]]] = {
    "removalbench": Folders("images", "masks", "gt", MaskReader(threshold=127)).items,
    "smarteraser": Folders("paste", "mask", "gt", MaskReader(threshold=128)).items,
    "mat": Folders("images", "masks", None, MaskReader(invert=True, threshold=127), in_order=True, crop=512).items,
    "brushbench": _brushbench,
    "ffhq": _ffhq,
}


def prepare_layout(layout: str, source: Path, out: Path, effects: bool = False) -> list[str]:
    """Write the set in ``source`` into ``out`` and return what there is to say; a repeated call continues.

    ``effects``: the masks of ObjectClear that hold shadows and reflections too. Raises FileNotFoundError or ValueError
    for a source of another layout and for files of unequal sizes, FileExistsError if ``out`` holds other images.
    """
    if layout not in OBER and layout not in LAYOUTS:
        raise ValueError(f"layout {layout}: unknown; known: {', '.join((*LAYOUTS, *OBER))}")
    if effects and layout not in OBER:
        raise ValueError(f"--effects: only {', '.join(OBER)} have such masks")
    source = source.expanduser()
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder")
    check_writable(out, "out")
    items, left_out = _ober(OBER[layout], source, effects) if layout in OBER else LAYOUTS[layout](source)
    ours = {name + ending for name in items for ending in ("", "_mask", CLEAN_PLATE)}
    there = list_images(out) if out.is_dir() and any(out.iterdir()) else []
    others = [path for path in there if path.relative_to(out).with_suffix("").as_posix() not in ours]
    if others:
        raise FileExistsError(
            f"{out}: holds {len(others)} other images, such as {others[0].name}; choose another folder"
        )
    samples = [_write(name, read(), out) for name, read in tqdm(items.items(), desc=layout, unit="image")]
    masks, truths = (all(each) for each in zip(*samples, strict=True))
    if masks:
        PairFolder(out, truth=CLEAN_PLATE if truths else None)
    lines = [f"{len(items)} images in {out}" + (f"; evaluate it with truth={CLEAN_PLATE}" if truths else "")]
    lines += [] if masks else [f"it has no masks; lama masks random_thick_256 {out} OUT draws them"]
    names = ", ".join(left_out[:5])
    return lines + ([f"left out, {len(left_out)} without a mask or a clean plate: {names}"] if left_out else [])


def _write(name: str, sample: Sample, out: Path) -> tuple[bool, bool]:
    """Write the files of one image; returns whether it has a mask and a clean plate. Raises ValueError for sizes."""
    with open_header(io.BytesIO(sample.image[1])) as header:
        size = upright_size(header)
    pictures = {"": sample.image} | ({CLEAN_PLATE: sample.truth} if sample.truth else {})
    for ending, (given, content) in pictures.items():
        with open_header(io.BytesIO(content)) as header:
            _check(upright_size(header), size, given)
        with atomic_write(out / f"{name}{ending}{Path(given).suffix}") as temporary:
            temporary.write_bytes(content)
    if sample.mask is not None:
        _check(sample.mask.shape[::-1], size, f"the mask of {sample.image[0]}")
        write_image(out / f"{name}_mask.png", sample.mask)
    return sample.mask is not None, sample.truth is not None


def _check(found: tuple[int, ...], size: tuple[int, int], what: str) -> None:
    if found != size:
        raise ValueError(f"{what}: is {found[0]} x {found[1]}, but its image is {size[0]} x {size[1]} pixels")

"""Find the images to fill, their masks, and the paths of the results."""

import csv
import difflib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lama.files import check_writable
from lama.pictures.folders import Folders
from lama.pictures.images import SUFFIXES, images_and_others, others_named
from lama.pictures.pairing import is_mask, masks_among, match_masks, name_below, preview_names
from lama.pictures.shard import Shard

SAME = "same"  # out_ext: the suffix of the image
FORMS = (
    ("indir", "outdir"), ("indir", "maskdir", "outdir"), ("indir", "mask", "outdir"), ("image", "mask", "out"),
    ("pairs", "outdir"), ("pairs",),
)  # fmt: skip
Pairs = Sequence[tuple[Path | None, Path]]  # (image, mask)


@dataclass(frozen=True)
class PredictionItem:
    """One hole to fill: the files of the image and its mask, and the file of the result."""

    image: Path | None  # None if the mask has no image
    mask: Path
    out: Path
    missing: str = ""  # the message if a file is missing
    more_masks: tuple[Path, ...] = ()  # further masks: the hole is the union of all


@dataclass(frozen=True)
class PredictionSet:
    """All holes that a command fills, and the files that it leaves out."""

    items: Sequence[PredictionItem]
    where: str  # the place of the results, for messages
    unmasked: Sequence[Path] = ()  # images without a mask, relative to indir
    others: Sequence[Path] = ()  # images in unsupported formats, relative to indir
    root: Path = Path()  # results are named relative to it, for the choice of a shard

    def name(self, item: PredictionItem) -> str:
        """The name of a result, relative to ``root`` if it lies there: what decides about its shard."""
        below = item.out.is_relative_to(self.root)
        return name_below(self.root, item.out) if below else item.out.as_posix()


def find(
    places: dict[str, str | None], out_ext: str = ".png", img_suffix: str | None = None, join: bool = False,
    shard: Shard | None = None,
) -> PredictionSet:  # fmt: skip
    """The images to fill that ``places`` (indir, maskdir, outdir, image, mask, out, pairs; see ``FORMS``) name.

    ``out_ext`` is the suffix of results: one of ``SUFFIXES``, or ``same`` as the image. ``img_suffix`` is the end of
    the names of images in a folder (official key ``dataset.img_suffix``). With ``join``, all masks of an image are one
    hole, and the result is named after the image. With ``shard``, only the results of that part are filled. Nothing is
    written. Raises FileNotFoundError, NotADirectoryError, PermissionError or ValueError if a place is missing, there is
    nothing to fill, or a result would overwrite another result or an input.
    """
    given = {name: Path(str(path)).expanduser() for name, path in places.items() if path}
    _check_form(places, given)
    if out_ext in (suffix[1:] for suffix in SUFFIXES):
        out_ext = f".{out_ext}"
    if out_ext != SAME and out_ext not in SUFFIXES:
        raise ValueError(f"out_ext={out_ext}: expected {SAME} or one of {' '.join(SUFFIXES)}")
    if "image" in given:
        found = _single(given["image"], given["mask"], given["out"])
    elif "pairs" in given:
        found = _listed(given["pairs"], given.get("outdir"), out_ext)
    elif "maskdir" in given:
        found = _two_folders(given["indir"], given["maskdir"], given["outdir"], out_ext, img_suffix)
    elif "mask" in given:
        found = _one_mask(given["indir"], given["mask"], given["outdir"], out_ext)
    else:  # masks and images share a folder
        indir, outdir = given["indir"], given["outdir"]
        files, others = _images_outside(indir, outdir, "indir")
        pairs = masks_among(files, indir, img_suffix)
        found = _named_after_masks(pairs, files, indir, indir, outdir, out_ext, img_suffix, others)
    if join:
        if "indir" not in given or "mask" in given:
            raise ValueError("mask.join=true: expected several masks for each image: indir= outdir=, with or without "
                             "maskdir=")  # fmt: skip
        found = replace(found, items=_joined(found.items, given["indir"], given["outdir"], out_ext))
    key = next((key for key in ("out", "outdir") if key in given), "")
    advice = "give each its own name in the column out" if "pairs" in given else ""
    every = found.items
    found = replace(found, root=given.get("outdir", given.get("pairs", Path()).parent))
    if shard is not None:
        found = replace(found, items=[item for item in every if shard.holds(found.name(item))])
    _check_outputs(found.items, every, advice, key, given.get(key))
    return found


def _check_form(places: dict[str, str | None], given: dict[str, Path]) -> None:
    if any(set(given) == set(form) for form in FORMS):
        return
    forms = "; ".join([*(" ".join(f"{name}=" for name in form) for form in FORMS[:-2]), "pairs= [outdir=]"])
    got = " ".join(f"{name}=" for name in places if name in given)
    lacking = [sorted(set(form) - set(given)) for form in FORMS if given and set(given) < set(form)]
    missing = f"{min(lacking, key=len)[0]}= is missing; " if lacking else ""
    raise ValueError(f"{missing}expected one of: {forms}; got {got or 'none'}")


def _single(image: Path, mask: Path, out: Path) -> PredictionSet:
    """image= mask= out=: one image."""
    for path, folder in ((image, "indir"), (mask, "maskdir")):
        if not path.is_file():
            problem = f"is a folder, expected an image; use {folder}= for a folder"
            raise FileNotFoundError(f"{path}: {problem if path.is_dir() else f'no such file{_nearest(path)}'}")
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"out={out}: expected a name that ends in one of {' '.join(SUFFIXES)}")
    return PredictionSet([PredictionItem(image, mask, out)], str(out))


def _two_folders(indir: Path, maskdir: Path, outdir: Path, out_ext: str, img_suffix: str | None) -> PredictionSet:
    """indir= maskdir= outdir=: masks lie in a folder of their own; results have the names of the masks."""
    if maskdir.resolve() == indir.resolve():
        raise ValueError(f"maskdir={maskdir}: is indir; omit maskdir= if masks and images share a folder")
    masks = _images_outside(maskdir, outdir, "maskdir")[0]
    files, others = _images_outside(indir, outdir, "indir")
    pairs = match_masks(masks, maskdir, files, indir, img_suffix)
    return _named_after_masks(pairs, files, maskdir, indir, outdir, out_ext, img_suffix, others)


def _of_suffix(files: Sequence[Path], img_suffix: str | None) -> list[Path]:
    """The masks and the images whose names end with ``img_suffix``."""
    return [path for path in files if not img_suffix or path.name.endswith(img_suffix) or is_mask(path)]


def _one_mask(indir: Path, mask: Path, outdir: Path, out_ext: str) -> PredictionSet:
    """indir= mask= outdir=: the same mask for every image; results have the names of the images."""
    files, others = _images_outside(indir, outdir, "indir")
    if not mask.is_file():
        problem = "is a folder; use maskdir= for a folder" if mask.is_dir() else f"no such file{_nearest(mask)}"
        raise FileNotFoundError(f"mask={mask}: {problem}")
    real = Folders().real
    masks = {real(path) for image, path in masks_among(files, indir) if image is not None} | {real(mask)}
    images = [path for path in files if real(path) not in masks]
    if not images:
        raise ValueError(_no_pairs(indir, files))
    items = [PredictionItem(path, mask, _result(outdir, name_below(indir, path), out_ext, path)) for path in images]
    unmasked = [path.relative_to(indir) for path in files if real(path) in masks and path != mask]
    return PredictionSet(items, str(outdir), unmasked, others)


def _named_after_masks(
    pairs: Pairs, files: Sequence[Path], mask_root: Path, indir: Path, outdir: Path, out_ext: str,
    img_suffix: str | None, others: Sequence[Path],
) -> PredictionSet:  # fmt: skip
    files = _of_suffix(files, img_suffix)
    if not pairs:
        raise ValueError(_no_pairs(indir, files))
    _check_ambiguous(pairs, files)
    missing = _missing([mask for image, mask in pairs if image is None], mask_root, indir, files, img_suffix)
    if len(missing) == len(pairs):
        more = f" (and {len(pairs) - 1} more masks without an image)" if len(pairs) > 1 else ""
        raise ValueError(missing[pairs[0][1]] + more)
    items = [
        PredictionItem(image, mask, _result(outdir, name_below(mask_root, mask), out_ext, image), missing.get(mask, ""))
        for image, mask in pairs
    ]
    inputs = {path for pair in pairs for path in pair}
    unmasked = [path.relative_to(indir) for path in files if path not in inputs]
    return PredictionSet(items, str(outdir), unmasked, others)


def _joined(items: Sequence[PredictionItem], indir: Path, outdir: Path, out_ext: str) -> list[PredictionItem]:
    """One item for each image, with all of its masks, named after the image."""
    joined = [item for item in items if item.image is None]
    by_image: dict[Path, list[Path]] = {}
    for item in items:
        if item.image is not None:
            by_image.setdefault(item.image, []).append(item.mask)
    for image, (mask, *more) in by_image.items():
        out = _result(outdir, name_below(indir, image), out_ext, image)
        joined.append(PredictionItem(image, mask, out, more_masks=tuple(more)))
    return joined


def _result(outdir: Path, name: str, out_ext: str, image: Path | None) -> Path:
    suffix = out_ext if out_ext != SAME else ".png" if image is None else image.suffix
    return Path(outdir, os.path.splitext(name)[0] + suffix)


def _images_outside(folder: Path, outdir: Path, key: str) -> tuple[list[Path], list[Path]]:
    """(images below ``folder``, without the results of an earlier run in ``outdir``; files of other formats).

    The files of other formats are relative to ``folder``.
    """
    if folder.resolve() == outdir.resolve():
        raise ValueError(f"outdir={outdir}: is {key}; the next run would take the results for inputs")
    files, unread = images_and_others(folder)
    others = [path.relative_to(folder) for path in unread]
    if not outdir.resolve().is_relative_to(folder.resolve()):
        return files, others
    return [path for path in files if not path.resolve().is_relative_to(outdir.resolve())], others


def _missing(
    masks: Sequence[Path], root: Path, indir: Path, files: Sequence[Path], img_suffix: str | None
) -> dict[Path, str]:
    """A message for each of the ``masks`` below ``root``, which have no image."""
    lines = {}
    for number, mask in enumerate(masks):
        stem = mask.stem.rsplit("_mask", 1)[0] or mask.stem
        folder = indir / mask.parent.relative_to(root)
        nearest = ""
        if number < 10:  # the search takes time
            names = {path.stem: path.name for path in files if path.parent == folder and not is_mask(path)}
            close = difflib.get_close_matches(stem, names, n=1)
            nearest = f"; the nearest is {names[close[0]]}" if close else ""
        only = f"{stem}{img_suffix} (dataset.img_suffix={img_suffix})"
        expected = f"expected {only if img_suffix else f'{stem} with one of ' + ' '.join(SUFFIXES)} in {folder}"
        lines[mask] = f"{mask}: mask without an image; {expected}{others_named(stem, folder) or nearest}"
    return lines


def _listed(table: Path, outdir: Path | None, out_ext: str) -> PredictionSet:
    """pairs=: a CSV with the columns image, mask and out (optional with ``outdir``); paths are relative to the CSV."""
    root = table.parent
    items = []
    for number, row in _rows(table):
        image, mask = (root / Path(row[name]).expanduser() for name in ("image", "mask"))
        if row.get("out"):
            out = (outdir or root) / Path(row["out"]).expanduser()
            if out.suffix.lower() not in SUFFIXES:
                raise ValueError(f"{table}, line {number}: out={row['out']}: expected one of {' '.join(SUFFIXES)}")
        elif outdir is not None:
            below = not Path(row["mask"]).is_absolute() and ".." not in Path(row["mask"]).parts
            name = row["mask"] if below else mask.name
            out = _result(outdir, name, out_ext, image)
        else:
            raise ValueError(f"{table}, line {number}: no place for the result; expected a column out, or outdir=")
        absent = next((path for path in (image, mask) if not path.is_file()), None)
        missing = "" if absent is None else f"{table}, line {number}: no such file: {absent}"
        items.append(PredictionItem(image, mask, out, missing))
    if not items:
        raise ValueError(f"{table}: expected lines image,mask,out, found none")
    return PredictionSet(items, str(outdir or f"the places in {table}"))


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, {column: value}) of each line; without a header the columns are image, mask, out."""
    if not table.is_file():
        raise FileNotFoundError(f"pairs={table}: no such file{_nearest(table)}")
    try:
        text = table.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError:
        raise ValueError(f"pairs={table}: expected a CSV file in UTF-8") from None
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)  # spreadsheets choose it by country
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if any(map(str.strip, line))]
    columns = ["image", "mask", "out"]
    if lines and not any(Path(cell).suffix.lower() in SUFFIXES for cell in lines[0][1]):  # a header
        number, names = lines.pop(0)
        columns = [cell.lower() for cell in names]
        if not {"image", "mask"} <= set(columns):
            got = delimiter.join(names)
            raise ValueError(f"{table}, line {number}: expected the columns image, mask and (optional) out, got {got}")
    rows = []
    for number, line in lines:
        row = dict(zip(columns, line, strict=False))
        if not row.get("image") or not row.get("mask") or len(line) > len(columns):
            got = delimiter.join(line)
            raise ValueError(f"{table}, line {number}: expected {delimiter.join(columns)}, got {got}")
        rows.append((number, row))
    return rows


def _check_ambiguous(pairs: Pairs, files: Sequence[Path]) -> None:
    """Refuse a mask with two possible images, such as ``a.jpg`` and ``a.png``."""
    stems = Counter(os.path.splitext(path)[0] for path in files)
    for image, mask in pairs:
        if image is not None and stems[os.path.splitext(image)[0]] > 1:
            same = sorted(path.name for path in files if path.with_suffix("") == image.with_suffix(""))
            raise ValueError(f"{mask}: expected one image of its name, found {', '.join(same)}; keep only one of them")


def _check_outputs(
    items: Sequence[PredictionItem], every: Sequence[PredictionItem], advice: str, key: str, place: Path | None
) -> None:
    """Refuse results that would overwrite another result or an input, or that cannot be written to ``place``.

    ``items`` are those whose results are checked, ``every`` item has inputs.
    """
    folders = Folders()
    outs = [folders.real(item.out) for item in items]
    places = {os.path.dirname(out) for out in outs}
    paths = (p for item in every for p in (item.image, item.mask, *item.more_masks) if p is not None)
    inputs = {path for path in map(folders.real, paths) if os.path.dirname(path) in places}
    seen: dict[str, PredictionItem] = {}
    for item, out in zip(items, outs, strict=True):
        if out in inputs:
            raise ValueError(f"{item.out}: would overwrite an input; choose another place")
        if out in seen:
            first = seen[out]
            both = (first.mask, item.mask) if first.mask != item.mask else (first.image, item.image)
            advice = advice or f"rename one{_or_same(first, item)}"
            raise ValueError(f"{both[0]} and {both[1]} would both be written to {item.out}; {advice}")
        seen[out] = item
    for folder in {os.path.dirname(item.out): item.out.parent for item in items}.values():
        check_writable(folder, key, place)
    for item in items:
        if folders.is_folder(item.out):
            raise IsADirectoryError(f"{item.out}: is a folder, expected the name of an image to write")


def _or_same(first: PredictionItem, second: PredictionItem) -> str:
    """A hint for ``a.jpg`` and ``a.png`` with one mask for all: with their own suffixes the results differ."""
    suffixes = [item.image.suffix for item in (first, second) if item.image and item.mask == first.mask]
    return f", or out_ext={SAME}" if len(set(suffixes)) == 2 else ""


def _no_pairs(indir: Path, files: Sequence[Path]) -> str:
    if not files:
        return f"{indir}: expected images, found only results of an earlier run"
    names = preview_names([path.relative_to(indir) for path in files], 5)
    hint = "; use mask=FILE for one mask for all, maskdir=FOLDER for a folder of masks"
    folders = sorted({path.relative_to(indir).parts[0] for path in files if len(path.relative_to(indir).parts) > 1})
    masks = [name for name in folders if "mask" in name.lower()]
    images = [name for name in folders if name.lower() in ("image", "images", "img", "imgs", "input", "inputs")]
    if masks and images:
        hint = f"; did you mean indir={indir / images[0]} maskdir={indir / masks[0]}?"
    return f"{indir}: expected masks, NAME_mask001.png for NAME.png; found {len(files)} other images ({names}){hint}"


def _nearest(path: Path) -> str:
    """A hint for a missing file: the most similar name in its folder."""
    if not path.parent.is_dir():
        return f" (the folder {path.parent} is missing too; working directory: {Path.cwd()})"
    close = difflib.get_close_matches(path.name, [file.name for file in path.parent.iterdir()], n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else f" (working directory: {Path.cwd()})"

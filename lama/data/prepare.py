"""Unpack the archives of Places and CelebA-HQ into the folders of the configurations, with evaluation sets."""

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lama.data.mask_dataset import Result, generate
from lama.data.shards import check_end
from lama.files import atomic_write, check_writable
from lama.pictures.images import SUFFIXES, list_images, read_image
from lama.verbs import setting, typed

KINDS = ("thin", "medium", "thick")
Build = Callable[[str], tuple[Any, Mapping[str, Any]]]  # name of a set -> (its MaskDataset, the settings to record)


def extract(archive: Path, folder: Path, keep: Callable[[str], bool] = lambda _: True) -> set[Path]:
    """Unpack the images of a tar or zip archive for which ``keep(name)``; returns their paths in ``folder``.

    Files are written atomically and existing ones are kept, so an interrupted extraction can be resumed.
    Raises FileNotFoundError or ValueError if the archive is missing, damaged or holds no image.
    """
    require(archive)
    wanted: set[Path] = set()
    try:
        for name, read in tqdm(_members(archive), desc=archive.name, unit="image"):
            relative = Path(name)
            if relative.suffix.lower() not in SUFFIXES or not keep(name):
                continue
            if relative.is_absolute() or ".." in relative.parts:
                raise ValueError(f"{archive}: {name} is a path outside of the folder")
            wanted.add(relative)
            if not (folder / relative).is_file():
                with atomic_write(folder / relative) as temporary:
                    temporary.write_bytes(read())
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive}: damaged archive ({error}); download it again") from error
    if not wanted:
        raise ValueError(f"{archive}: expected images ({' '.join(SUFFIXES)}), found no selected image")
    return wanted


def require(*archives: Path) -> None:
    """Raise FileNotFoundError if an archive is missing, before hours of work on another one."""
    for archive in archives:
        if not archive.is_file():
            raise FileNotFoundError(f"{archive}: no such archive; download it first")


def _members(archive: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(name, function that reads its content) of every file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, partial(zipped.read, info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content.read
        check_end(tar)


def pick(paths: Sequence[Path], count: int, seed: int) -> list[Path]:
    """``count`` of the paths, drawn from the seed. Raises ValueError if there are fewer."""
    if len(paths) < count:
        raise ValueError(f"{paths[0].parent}: expected at least {count} images, got {len(paths)} (--counts sets it)")
    chosen = np.random.default_rng(seed).permutation(len(paths))[:count]
    return [paths[i] for i in sorted(chosen.tolist())]


def copy(paths: Sequence[Path], root: Path, folder: Path) -> Path:
    """Copy files below ``root`` into ``folder``; existing files are kept. Raises FileExistsError as ``check_only``."""
    check_only(folder, {path.relative_to(root) for path in paths})
    for path in tqdm(paths, desc=f"copying to {folder.name}", unit="image", leave=False):
        _copy(path, folder / path.relative_to(root))
    return folder


def check_only(folder: Path, wanted: set[Path]) -> None:
    """Raise FileExistsError if ``folder`` holds an image that is not in ``wanted`` (relative paths)."""
    filled = folder.is_dir() and any(folder.iterdir())
    there = {path.relative_to(folder) for path in list_images(folder)} if filled else set()
    if there - wanted:
        others = f"{len(there - wanted)} images of other settings, such as {min(there - wanted)}"
        raise FileExistsError(f"{folder}: holds {others}; remove that folder, or choose another output folder")


def _copy(path: Path, target: Path) -> None:
    if not target.is_file():
        with atomic_write(target) as temporary:
            shutil.copyfile(path, temporary)


def make_sets(images: Path, out: Path, names: Sequence[str], build: Build, jobs: int) -> list[Result]:
    """Generate the evaluation sets ``names`` from the same images, each in ``out/NAME``."""
    return [generate(*build(name), images, out / name, jobs=jobs) for name in names]


def prepare_places(
    train: Path, val: Path, test: Path, out: Path, build: Build, jobs: int = 0, seed: int = 0,
    categories: Path | None = None, counts: tuple[int, int, int] = (2000, 100, 30000),
) -> list[str]:  # fmt: skip
    """Places365-Standard or -Challenge: train/, val/, visual_test/ and evaluation/ as in the official scripts.

    ``val`` (2 000 images of the test archive) is for choosing checkpoints, ``visual_test`` (100 of the validation
    archive) for visual inspection, ``evaluation`` (30 000 of the validation archive, six kinds of masks) for tables.
    ``categories`` is a text file with one name per line: only training images with one of them in their path are kept.
    """
    lines = None if categories is None else categories.read_text(encoding="utf-8").splitlines()
    wanted = None if lines is None else [line.strip() for line in lines if line.strip()]
    require(train, val, test)
    check_writable(out, "out")
    kept = extract(train, out / "train", lambda name: wanted is None or any(w in name for w in wanted))
    check_only(out / "train", kept)
    unused = [word for word in wanted or () if not any(word in path.as_posix() for path in kept)]
    extract(val, out / "source" / "val")
    extract(test, out / "source" / "test")
    n_val, n_visual, n_evaluation = counts
    val_root, test_root = out / "source" / "val", out / "source" / "test"
    val_images = list_images(val_root)
    copy(pick(list_images(test_root), n_val, seed), test_root, out / "val_source")
    copy(pick(val_images, n_visual, seed), val_root, out / "visual_test_source")
    copy(pick(val_images, n_evaluation, seed + 1), val_root, out / "evaluation" / "hires")
    generate(*build("random_thick_512"), out / "val_source", out / "val", jobs=jobs)
    generate(*build("random_thick_512"), out / "visual_test_source", out / "visual_test", jobs=jobs)
    names = [f"random_{kind}_{size}" for kind in KINDS for size in (256, 512)]
    make_sets(out / "evaluation" / "hires", out / "evaluation", names, build, jobs)
    return [
        *([f"categories without an image: {', '.join(unused)}; check their spelling"] if unused else []),
        f"{len(kept)} images in {out}/train; pairs: {n_val} in val, {n_visual} in visual_test, {n_evaluation} to test",
        f"{typed('train')} -cn lama-fourier location=places_standard {setting('location.data_root_dir', out)}",
    ]


def prepare_celebahq(
    archive: Path, out: Path, build: Build, jobs: int = 0, seed: int = 0, counts: tuple[int, int] = (2000, 2000),
    val_list: Path | None = None,
) -> list[str]:  # fmt: skip
    """CelebA-HQ at 256: train_256/, val_256/ and visual_test_256/ with thin, medium and thick masks.

    Images 00001.jpg ... of the archive become 0.jpg ...; ``val_list`` names the images of visual_test_256, one per
    line, like the official ``val_shuffled.flist``; without it they are drawn from the seed. The official split of the
    other images is not reproducible, since it was shuffled without a seed.
    """
    check_writable(out, "out")
    extract(archive, out / "source")
    numbered = {int(path.stem): path for path in list_images(out / "source") if path.stem.isdigit()}
    if len(numbered) <= sum(counts):
        expected = f"expected more than {sum(counts)} images named 00001.jpg ..."
        raise ValueError(f"{archive}: {expected}, got {len(numbered)} (--counts selects fewer)")
    if min(numbered) != 1:
        raise ValueError(f"{archive}: expected images numbered from 00001, got {numbered[min(numbered)].name} first")
    size = read_image(numbered[1]).shape[:2]
    if size != (256, 256):
        raise ValueError(f"{archive}: expected images of 256 x 256 pixels, got {size[1]} x {size[0]}")
    images = {number - 1: path for number, path in numbered.items()}
    order = np.random.default_rng(seed).permutation(sorted(images)).tolist()
    n_val, n_visual = counts
    visual = order[:n_visual]
    if val_list is not None:
        visual = [
            int(Path(line.strip()).stem) for line in val_list.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
        missing = [number for number in visual if number not in images]
        if missing:
            raise ValueError(f"{val_list}: {len(missing)} of its images are not in the archive, first {missing[0]}")
    rest = [number for number in order if number not in set(visual)]
    for name, numbers in (
        ("visual_test_source_256", visual),
        ("val_source_256", rest[:n_val]),
        ("train_256", rest[n_val:]),
    ):
        check_only(out / name, {Path(f"{number}{images[number].suffix}") for number in numbers})
        for number in tqdm(numbers, desc=name, unit="image", leave=False):
            _copy(images[number], out / name / f"{number}{images[number].suffix}")
    names = [f"random_{kind}_256" for kind in KINDS]
    make_sets(out / "val_source_256", out / "val_256", names, build, jobs)
    make_sets(out / "visual_test_source_256", out / "visual_test_256", names, build, jobs)
    return [
        f"{len(rest) - n_val} images in {out}/train_256, {n_val} in val_256, {len(visual)} in visual_test_256",
        f"{typed('train')} -cn lama-fourier-celeba location=celeba {setting('location.data_root_dir', out)}",
    ]

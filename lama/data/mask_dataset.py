"""Frozen evaluation sets, generated like the official test masks, but from a seed.

The shorter side of an image is scaled to the size of the set. Masks are drawn on the whole image, and each
proposes a square crop. Some of the crops with at most half of their pixels hidden are kept. The pairs of an image are
a function of the seed and its name: the number of processes, the order of the files and interruptions change nothing.
"""

import hashlib
import json
import logging
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from lama.data.manifest import JOURNAL, Manifest, write_manifest
from lama.files import PARTIAL, check_writable, sha256_of, write_text
from lama.interfaces import ImageArray, MaskArray, MaskSampler
from lama.pictures.images import header_size, list_images, open_header, read_image, write_image
from lama.pictures.notices import Notices
from lama.pictures.reading import suspicions

logger = logging.getLogger(__name__)
WIDEST = 20000  # pixels, limit of the longer side after scaling


@dataclass(frozen=True)
class MaskDataset:
    """The settings of an evaluation set. Raises ValueError for settings out of range."""

    masks: MaskSampler
    size: int = 256  # pixels, side of the square crops
    variants: int = 5  # masks drawn per image
    masks_per_image: int = 1  # largest number of pairs kept per image
    max_area: float = 0.5  # largest share of hole in a crop
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.size, self.variants, self.masks_per_image) < 1 or not 0 < self.max_area <= 1 or self.seed < 0:
            raise ValueError(
                "evaluation set: expected size, variants, masks_per_image >= 1, 0 < max_area <= 1 and seed >= 0, got "
                f"{self.size}, {self.variants}, {self.masks_per_image}, {self.max_area}, {self.seed}"
            )

    def pairs(self, name: str, image: ImageArray) -> list[tuple[ImageArray, MaskArray]]:
        """Crops (size, size, 3) with masks (size, size). Raises ValueError if no mask fits."""
        rng = np.random.default_rng([self.seed, *hashlib.sha256(name.encode()).digest()])
        factor = self.size / min(image.shape[:2])
        if factor * max(image.shape[:2]) > WIDEST:
            raise ValueError(f"{image.shape[1]} x {image.shape[0]} pixels: too long and narrow")
        size = [max(self.size, round(side * factor)) for side in image.shape[1::-1]]
        image = np.asarray(Image.fromarray(image).resize((size[0], size[1]), Image.Resampling.BICUBIC))
        fit = []
        for _ in range(self.variants):
            mask = self.masks(rng, *image.shape[:2])
            if mask.any():
                top, left = self._crop(rng, mask)
                window = slice(top, top + self.size), slice(left, left + self.size)
                if 0 < mask[window].mean() <= self.max_area:
                    fit.append((np.ascontiguousarray(image[window]), np.ascontiguousarray(mask[window])))
        if not fit:
            raise ValueError(
                f"each of {self.variants} masks hides nothing or more than {self.max_area:.0%} of its crop; "
                "raise max_area or variants, or take smaller masks"
            )
        chosen = rng.choice(len(fit), size=min(len(fit), self.masks_per_image), replace=False)
        return [fit[i] for i in chosen]

    def _crop(self, rng: np.random.Generator, mask: MaskArray) -> tuple[int, int]:
        """(top, left) of a square with the far end of the mask along the longer side, as in the official code."""
        height, width = mask.shape
        axis = 0 if height > width else 1
        last = int(np.flatnonzero(mask.any(axis=1 - axis))[-1])
        low = max(0, min(mask.shape[axis] - self.size - 1, last - self.size))
        high = max(low + 1, min(mask.shape[axis] - self.size, last))
        start = int(rng.integers(low, high))
        return (start, 0) if axis == 0 else (0, start)


@dataclass
class _Job:
    dataset: MaskDataset
    indir: Path
    outdir: Path
    white: int | None = None  # the value of 16-bit images that becomes white; None: 65535

    def __call__(self, path: Path) -> dict[str, Any]:
        """Write the pairs of one image; returns its line of the journal."""
        name = path.relative_to(self.indir).with_suffix("").as_posix()
        files = {}
        try:
            pairs = self.dataset.pairs(name, read_image(path, white=self.white))
            with open_header(path) as header:
                warnings = suspicions(path, header, "" if self.white else "--white")
        except ValueError as error:
            return {"name": name, "files": {}, "refused": str(error).replace(f"{self.indir}/", "")}
        for i, (image, mask) in enumerate(pairs):
            for written, array in ((f"{name}_crop{i:03d}.png", image), (f"{name}_crop{i:03d}_mask{i:03d}.png", mask)):
                write_image(self.outdir / written, array)
                files[written] = sha256_of(self.outdir / written)
        return {"name": name, "files": files, "refused": None, "warnings": warnings}


@dataclass
class Result:
    files: dict[str, str] = field(default_factory=dict)  # name: sha256
    refused: dict[str, str] = field(default_factory=dict)  # image: reason
    hash: str = ""


def generate(
    dataset: MaskDataset,
    settings: Mapping[str, Any],  # plain values, stored in the manifest and compared when a run is resumed
    indir: str | Path,
    outdir: str | Path,
    suffix: str | None = None,  # use only images with this suffix, such as "jpg"
    jobs: int = 0,  # worker processes; 0 = work in this process
    white: int | None = None,  # the value of 16-bit images that becomes white, 4095 for 12 bits; None: 65535
) -> Result:
    """Generate the evaluation set of ``indir`` in ``outdir``, or resume an interrupted call.

    Warnings name images that lose bits or bands. Raises FileNotFoundError or ValueError if there are no images or two
    have the same name, FileExistsError if ``outdir`` holds other files or a set with other settings.
    """
    root, out = Path(indir).expanduser(), Path(outdir).expanduser()
    if out.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{out}: lies in the image folder {root}; choose a folder outside of it")
    check_writable(out, "outdir")
    paths = _images(root, suffix)
    names = {path.relative_to(root).with_suffix("").as_posix() for path in paths}
    if white is not None and not 0 < white <= 65535:
        raise ValueError(f"--white={white}: expected 1 to 65535")
    job = _Job(dataset, root, out, white)
    stretched = {} if white is None else {"white": white}
    about = {**settings, **stretched, "images": hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()}
    done = _finished(out, about)
    if done is not None:
        _repair(done, job, paths)
        return Result(done.files, done.content["refused"], done.hash)
    journal = out / JOURNAL
    lines = _read_journal(journal, about)
    small = sum(0 < min(header_size(path)) < dataset.size for path in paths)
    if small:
        logger.warning("%d of %d images are smaller than %d pixels; they are enlarged", small, len(paths), dataset.size)
    left = [path for path in paths if path.relative_to(root).with_suffix("").as_posix() not in lines]
    write_text(journal, "".join(json.dumps(line) + "\n" for line in ({"settings": about}, *lines.values())))
    _work(_run(job, left, jobs), journal, lines, len(paths))
    refused = {line["name"]: line["refused"] for line in lines.values() if line["refused"]}
    result = Result(dict(file for line in lines.values() for file in line["files"].items()), refused)
    if not result.files:
        journal.unlink()
        if not any(out.iterdir()):
            out.rmdir()
        name, reason = next(iter(result.refused.items()))
        raise ValueError(f"{root}: none of {len(paths)} images gave a pair; of {name}: {reason}")
    result.hash = write_manifest(out, about, result.files, result.refused)
    journal.unlink()
    return result


def _work(finished: Iterator[dict[str, Any]], journal: Path, lines: dict[str, dict[str, Any]], total: int) -> None:
    notices = Notices()
    try:
        with journal.open("a", encoding="utf-8") as file:
            for line in tqdm(finished, desc="images", initial=len(lines), total=total):
                lines[line["name"]] = line
                for warning in line.pop("warnings", []):
                    notices.add(warning, line["name"])
                file.write(json.dumps(line) + "\n")
                file.flush()
        for count in notices.counted():
            logger.warning(count)
    finally:
        for leftover in journal.parent.rglob(f"{PARTIAL}*"):  # of stopped processes
            leftover.unlink()


def _run(job: _Job, paths: list[Path], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs < 1:
        yield from map(job, paths)
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # ends OpenCV's threads: a forked process would wait for them for ever
    try:
        # only this process handles Ctrl-C; it stops the others
        with multiprocessing.Pool(jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
            yield from pool.imap_unordered(job, paths)
    finally:
        cv2.setNumThreads(threads)


def _images(root: Path, suffix: str | None) -> list[Path]:
    paths = list_images(root)
    if suffix is not None:
        wanted = f".{suffix.lower().lstrip('.')}"
        found = sorted({path.suffix for path in paths})
        paths = [path for path in paths if path.suffix.lower() == wanted]
        if not paths:
            raise ValueError(f"{root}: expected images *{wanted}, found only {' '.join(found)}; omit --ext to use all")
    (twice, count), *_ = Counter(path.with_suffix("") for path in paths).most_common(1)
    if count > 1:
        raise ValueError(f"{twice}: two images differ only in their suffix, and so would their crops; rename one")
    return paths


def _repair(manifest: Manifest, job: _Job, paths: list[Path]) -> None:
    """Generate the missing and changed files of a finished set again."""
    damaged = manifest.damaged()
    names = {file.rpartition("_crop")[0] for file in damaged}
    for path in paths:
        if path.relative_to(job.indir).with_suffix("").as_posix() in names:
            job(path)
    if damaged:
        logger.warning("%s: %d missing or changed files were generated again", job.outdir, len(damaged))


def _finished(out: Path, about: dict[str, Any]) -> Manifest | None:
    """The manifest of ``out`` if it is the finished set; raises FileExistsError if it holds anything else."""
    manifest = Manifest.of(out)
    if manifest is None:
        if out.is_dir() and any(out.iterdir()) and not (out / JOURNAL).is_file():
            raise FileExistsError(f"{out}: holds other files; choose another output folder")
        return None
    if manifest.content["settings"] != about:
        raise FileExistsError(f"{out}: holds an evaluation set of other images or settings; choose another folder")
    return manifest


def _read_journal(journal: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if not journal.is_file():
        return {}
    lines = []
    for text in journal.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break  # the last line may be incomplete
    if not lines or lines[0].get("settings") != about:
        raise FileExistsError(f"{journal.parent}: holds an unfinished set of other images or settings; remove it first")
    intact = (line for line in lines[1:] if all((journal.parent / name).is_file() for name in line["files"]))
    return {line["name"]: line for line in intact}

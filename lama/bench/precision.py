"""ONNX files of one network, stored in float32, float16 or 8 bits: their sizes, and what is lost on photographs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lama.data import BuiltinPhotos
from lama.evaluation.lpips import LPIPSSqueeze
from lama.evaluation.pixel import PSNRHole
from lama.interfaces import ImageArray, MaskArray
from lama.onnx import Inpainter
from lama.pictures.images import image_to_tensor, list_images, mask_to_tensor, read_image, write_image
from lama.verbs import typed

_LABEL = 22  # pixels of the strip above a column


def bench_precision(*arguments: str) -> list[str]:
    """A table in Markdown, a row for each file; with ``--sheet`` a picture with a row for each of four photographs."""
    parser = argparse.ArgumentParser(f"{typed('bench')} precision", description=__doc__)
    parser.add_argument(
        "files", nargs="+", type=Path, help="the first one, float32, is what the others are compared with"
    )
    parser.add_argument("--images", help="a folder of photographs; default: the held-out ones of scikit-image")
    parser.add_argument("--count", type=int, default=12, help="of photographs")
    parser.add_argument("--size", type=int, default=256, help="of the square from the middle of each, in pixels")
    parser.add_argument("--hole", type=int, default=90, help="height and width of the hole in its middle, in pixels")
    parser.add_argument("--lpips", help="weights of LPIPS with SqueezeNet; without, LPIPS is left out")
    parser.add_argument("--sheet", type=Path, help="an image file for a picture of the results")
    options = parser.parse_args(arguments)
    if not 0 < options.hole < options.size or options.count < 1:
        raise ValueError("bench precision: expected 0 < --hole < --size and --count of at least 1")
    photos = _photos(options.images, options.size, options.count)
    mask = np.zeros((options.size, options.size), bool)
    first = (options.size - options.hole) // 2
    mask[first : first + options.hole, first : first + options.hole] = True
    results = {}
    for file in tqdm(options.files, desc="files", leave=False):
        inpainter = Inpainter(file, "full", threads=1)
        results[file] = [inpainter(photo / np.float32(255), mask) for photo in photos]
    if options.sheet is not None:
        write_image(options.sheet, _sheet(photos[:4], mask, results))
    lpips = None if options.lpips is None else LPIPSSqueeze(options.lpips)
    return _table(photos, mask, results, lpips)


def _photos(folder: str | None, size: int, count: int) -> list[ImageArray]:
    """The middle (size, size) of the first ``count`` photographs that are large enough."""
    if folder is None:
        source = BuiltinPhotos("held_out", size)
        found = [source[i][1] for i in range(len(source))]
    else:
        found = [read_image(path) for path in list_images(folder)]
    large = [photo for photo in found if min(photo.shape[:2]) >= size][:count]
    if not large:
        raise ValueError(f"--images {folder}: expected photographs of at least {size} x {size} pixels, found none")
    corners = [((photo.shape[0] - size) // 2, (photo.shape[1] - size) // 2) for photo in large]
    return [photo[y : y + size, x : x + size] for photo, (y, x) in zip(large, corners, strict=True)]


def _table(
    photos: Sequence[ImageArray], mask: MaskArray, results: dict[Path, list[NDArray[np.float32]]], lpips: Any
) -> list[str]:
    hole, psnr = mask_to_tensor(mask)[None], PSNRHole()
    reference = next(iter(results.values()))
    lines = [
        f"{len(photos)} photographs of {mask.shape[1]} x {mask.shape[0]}, hole of {mask.mean():.1%}; PSNR of the hole",
        "",
        "| file | MB | PSNR | LPIPS | PSNR against the first | least | largest difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for file, filled in results.items():
        truth, same, distances = [], [], []
        for photo, one, wanted in zip(photos, filled, reference, strict=True):
            ours, theirs = (torch.from_numpy(x.transpose(2, 0, 1).copy())[None] for x in (one, wanted))
            target = image_to_tensor(photo)[None]
            truth.append(float(psnr.score(ours, target, hole)))
            same.append(float(psnr.score(ours, theirs, hole)))
            if lpips is not None:
                with torch.inference_mode():
                    distances.append(float(lpips.scores(ours, target, hole)[0, 0]))
        largest = max(float(np.abs(one - wanted).max()) for one, wanted in zip(filled, reference, strict=True))
        distance = f"{np.mean(distances):.4f}" if distances else ""
        beside = "| | |" if filled is reference else f"{np.mean(same):.1f} | {min(same):.1f} | {largest:.4f} |"
        size = file.stat().st_size / 1e6
        lines.append(f"| {file.name} | {size:.1f} | {np.mean(truth):.3f} | {distance} | {beside}")
    return lines


def _sheet(photos: Sequence[ImageArray], mask: MaskArray, results: dict[Path, list[NDArray[np.float32]]]) -> ImageArray:
    """Columns: the photograph with its hole in grey, each file's result, sixteen times the last one's difference."""
    first, last = next(iter(results.values())), list(results.values())[-1]
    titles = ["hole", *(file.stem for file in results), "16 x difference"]
    columns = [[np.where(mask[..., None], np.uint8(128), photo) for photo in photos]]
    columns += [[_bytes(one) for one in filled[: len(photos)]] for filled in results.values()]
    pairs = zip(first[: len(photos)], last, strict=False)
    columns.append([_bytes(0.5 + 16 * (theirs - ours)) for ours, theirs in pairs])
    parts = []
    for title, cells in zip(titles, columns, strict=True):
        strip = np.full((_LABEL, mask.shape[1], 3), 255, np.uint8)
        cv2.putText(strip, title, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
        parts.append(np.concatenate([strip, *cells]))
    return np.concatenate(parts, axis=1)


def _bytes(values: NDArray[np.float32]) -> ImageArray:
    return (values.clip(0, 1) * 255).round().astype(np.uint8)

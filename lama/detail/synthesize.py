"""The public function: texture for a hole, coarse to fine, under a guide."""

import logging
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lama.detail import search
from lama.detail.choice import is_sharp, limit_colours
from lama.detail.colour import Image, from_lab, to_lab
from lama.detail.contrast import sharpened
from lama.detail.kernel import find_kernel
from lama.detail.level import UNIT, Level, framed, quantise, split_centres
from lama.detail.membrane import level_guide
from lama.detail.patchmatch import Kernel
from lama.detail.search import Effort
from lama.detail.windows import texture_pieces
from lama.progress_bar import bar

logger = logging.getLogger(__name__)

_LEAST = 16  # pixels of a window's shorter side: narrower ones have no room for patches
_MOST_UNKNOWN = 2 / 3  # of a window: with less to take from, texture was as often worse than the guide as better
_SEAM = 2.0  # pixels at 512, standard deviation of the means whose difference is the step at the border
_RADIUS = (3, 3, 3, 2)  # of patches, coarse to fine, the last for all finer levels
_EFFORT = (Effort(16, 4, None), Effort(16, 3, None), Effort(8, 2, None), Effort(4, 2, 32), Effort(2, 1, 8))
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Weights:
    """What a source costs beside the difference of detail, whose unit is a mean square over the patch in Lab."""

    sigma: float = 7.0  # pixels at 512: coarser than this is the guide's, finer the photograph's
    own: float = 0.125  # share of the guide's own detail at 512 (0.25 at 256, 0.06 at 1024): it gains PSNR
    guide: float = 0.5  # of the squared difference of colours
    slope: float = 0.1  # of the squared difference of the colours' slopes: edges of the guide meet edges
    distance: float = 30.0  # of a distance, divided by (16 + 2 x depth in the hole), all in pixels at 512
    reuse: float = 2.0  # of each other use of the source
    trust: float = 1.3  # a vote counts trust ** -depth
    reach: float = 48.0  # pixels at 512 around the hole: the guide's colours are limited to those found there
    sharp: float = 1.0  # pixels, the standard deviation of the last vote


def synthesize(
    image: Image,
    hole: Mask,
    guide: Image,
    seed: int = 0,
    *,
    weights: Weights = Weights(),
    threads: int = 1,
    compiled: bool = True,
    texture: bool = True,
    unknown: Mask | None = None,
) -> Image:
    """Fill ``hole`` with the colours of ``guide`` and the texture of the known part of ``image``.

    ``image`` and ``guide`` are (H, W), (H, W, 1) or (H, W, 3), both of one shape and type: uint8, uint16, or float in
    [0, 1], in sRGB. ``hole`` is bool (H, W), True = to be filled. The result is a new array of the same kind, equal to
    ``image`` outside the hole, byte for byte. ``seed`` is an integer from 0. The number of ``threads``, C++ or NumPy
    (``compiled=False``), change no byte. Pixels of ``unknown`` (H, W) outside the hole are no source; they keep the
    colours of ``guide``. ``texture=False`` stops after the first of three steps:

    1. The step between guide and image at the hole's border is spread over the hole (``membrane``).
    2. The guide's colours are limited to the range of the surroundings. It is split at ``weights.sigma`` pixels. The
       coarser part is kept. The finer part is the detail, which is replaced, but for the share ``weights.own``.
    3. On each level of a pyramid, coarse to fine, PatchMatch finds for every patch that touches the hole a known patch
       with like detail, like colours and edges in the guide, near, and not used often; the patches then vote for the
       hole's detail. This is repeated, since the hole's detail is a part of what is compared. The last mean of votes
       gets back the contrast that it lost (``contrast``).

    Memory and time grow with the hole, not with the image: sources lie in a window around each hole.
    If less than a third of the window is known, no patch is known as a whole, the image is narrower than 16 pixels, or
    the guide is as sharp as its surroundings, the result is the guide, after the first step where that is possible; a
    log line gives the reason.

    Raises ValueError for arrays of other shapes or types.

    Barnes et al., "PatchMatch", SIGGRAPH 2009 (search); Wexler et al., "Space-time completion of video", PAMI 2007
    (votes); Huang et al., "Image completion using planar structure guidance", SIGGRAPH 2014 (the cost of distance);
    Kaspar et al., "Self tuning texture optimization", 2015 (the penalty on reuse); Darabi et al., "Image melding",
    SIGGRAPH 2012 (slopes in the cost); Heitz and Neyret, "High-performance by-example noise using a
    histogram-preserving blending operator", 2018 (variance kept by a blend); Zhang et al., "Inpainting at modern
    camera resolution by guided PatchMatch with auto-curation", ECCV 2022 (a network's result as the guide).
    """
    _check(image, hole, guide, seed)
    result = image.copy()
    hidden = hole if unknown is None else hole | unknown
    result[hidden] = guide[hidden]
    kernel = find_kernel(compiled) if texture else None
    missed: list[str] = []
    pieces = texture_pieces(hole)
    with bar(sum(_levels(piece.take) for piece in pieces), "texture", delay=2) as progress:
        for piece in pieces:
            here, target = piece.window.slices, piece.take
            filled, reason = _fill(result[here], hidden[here], target, weights, seed, kernel, threads, progress)
            result[here][target] = filled[target]
            if reason:
                missed.append(reason)
    if missed:
        logger.info("detail: no texture in %d of %d holes: %s", len(missed), len(pieces), missed[0])
    return result


def _check(image: Image, hole: Mask, guide: Image, seed: int) -> None:
    kind = image.dtype.kind == "f" or (image.dtype.kind == "u" and image.dtype.itemsize <= 2)
    if not kind or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3))) or 0 in image.shape:
        raise ValueError(
            "image: expected (H, W), (H, W, 1) or (H, W, 3) of uint8, uint16 or float, "
            f"got {image.shape} of {image.dtype}"
        )
    if guide.shape != image.shape or guide.dtype != image.dtype:
        raise ValueError(f"guide: expected {image.shape} of {image.dtype}, got {guide.shape} of {guide.dtype}")
    if hole.shape != image.shape[:2] or hole.dtype != bool:
        raise ValueError(f"hole: expected bool {image.shape[:2]}, got {hole.dtype} {hole.shape}")
    if seed < 0:
        raise ValueError(f"seed={seed}: expected 0 or more")


def _fill(
    guide: Image, hole: Mask, target: Mask, weights: Weights, seed: int, kernel: Kernel | None, threads: int,
    progress: bar,
) -> tuple[Image, str]:  # fmt: skip
    """A window (H, W, ...) with its target filled, and the reason where the guide stays; the guide lies in its hole."""
    if hole.all():
        return guide, "nothing around it is known"
    relative = max(hole.shape) / 512
    size = max(relative, 1)
    lab = level_guide(to_lab(guide), hole, _SEAM * size)
    if kernel is None:
        return from_lab(lab, guide), ""
    if min(hole.shape) < _LEAST:
        return from_lab(lab, guide), f"the image is narrower than {_LEAST} pixels"
    if hole.mean() > _MOST_UNKNOWN:
        return from_lab(lab, guide), "too little around it is known"
    progress.update(0)
    if is_sharp(lab, hole, target):
        return from_lab(lab, guide), "the network's result is as sharp as its surroundings"
    limit_colours(lab, hole, target, weights.reach * size)
    progress.update(0)
    low = _smooth(lab, weights.sigma * size)
    levels = _levels(hole)
    done: Level | None = None
    for step in range(levels):
        progress.update(1)
        level = _build(lab, low, hole, target, step, levels, weights, threads, max(relative, 0.5))
        if level is None:
            continue
        if done is not None:
            _take_over(level, done)
        effort = _EFFORT[min(step, len(_EFFORT) - 1)]
        search.run(level, kernel, effort, weights.sharp, seed + step, lambda: progress.update(0))
        done = level
    if done is None:
        return from_lab(lab, guide), "no patch of the surroundings is whole"
    found = low + sharpened(done)
    share = np.float32(1 - weights.own / max(relative, 0.5))
    return from_lab(lab + share * (found - lab), guide), ""


def _levels(window: Mask) -> int:
    """Of the pyramid: 4 at 512, one more for each doubling."""
    return 4 + round(np.log2(max(max(window.shape) / 512, 1)))


def _build(
    lab: NDArray[np.float32], low: NDArray[np.float32], hole: Mask, target: Mask,
    step: int, levels: int, weights: Weights, threads: int, scale: float,
) -> Level | None:  # fmt: skip
    """The level ``step`` of ``levels``, 0 the coarsest; None where it has no source."""
    radius, factor = _RADIUS[min(step, len(_RADIUS) - 1)], 2 ** (levels - 1 - step)
    height, width = hole.shape
    size = max(width // factor, 2 * radius + 2), max(height // factor, 2 * radius + 2)

    def at(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return array if factor == 1 else np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA))

    hole_here, target_here = (at(mask.astype(np.float32)) > 1e-3 for mask in (hole, target))
    depth = cv2.distanceTransform(np.pad(hole_here.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    framed_hole, framed_depth = (framed(a.astype(np.float32), radius) for a in (hole_here, depth))
    wanted = framed(target_here.astype(np.uint8), radius) > 0
    centres, boundary, source = split_centres(framed_hole > 0, wanted, radius)
    if not source.any() or not len(centres):
        return None
    patch, deep = (2 * radius + 1) ** 2, framed_depth.ravel()[centres].astype(np.float64)
    low_here = at(low)
    unit = patch * UNIT**2  # costs are sums over the patch, in steps
    return Level(
        radius=radius,
        detail=framed(quantise(at(lab) - low_here), radius),
        low=framed(quantise(low_here), radius),
        hole=framed_hole > 0,
        source=source,
        centres=centres,
        boundary=boundary,
        locality=weights.distance * unit * factor / (16 * scale + 2 * deep * factor),
        trust=weights.trust ** -np.minimum(deep, 40),
        guide=round(weights.guide * patch),
        slope=round(weights.slope * patch),
        reuse=round(weights.reuse * unit),
        threads=threads,
        match=np.full(framed_hole.shape, -1, np.int32),
    )


def _smooth(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A Gaussian; a wide one is computed at a lower resolution."""
    shrink = int(max(sigma // 8, 1))
    if shrink == 1:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))
    height, width = values.shape[:2]
    size = max(width // shrink, 1), max(height // shrink, 1)
    small = cv2.GaussianBlur(cv2.resize(values, size, interpolation=cv2.INTER_AREA), (0, 0), sigma / shrink)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _take_over(level: Level, coarser: Level) -> None:
    """Begin with the matches of the next coarser level, twice as far from the corner."""
    r, (height, width) = level.radius, level.hole.shape
    y, x = level.centres // width - r, level.centres % width - r
    other, (coarse_height, coarse_width) = coarser.radius, coarser.hole.shape
    row = np.minimum(y // 2 + other, coarse_height - 1 - other)
    found = coarser.match[row, np.minimum(x // 2 + other, coarse_width - 1 - other)]
    to_y = np.clip(2 * (found // coarse_width - other) + y % 2, r, height - 1 - 3 * r) + r
    to_x = np.clip(2 * (found % coarse_width - other) + x % 2, r, width - 1 - 3 * r) + r
    level.match.ravel()[level.centres] = np.where(found < 0, -1, to_y * width + to_x)

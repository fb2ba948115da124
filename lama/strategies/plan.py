"""Strategies: compute the whole frame, crops around its holes, or overlapping tiles.

full   the whole frame; every pixel sees every other. If memory is short, encoder and decoder work in chunks of rows.
crop   each hole with a margin of context; many times faster for a small hole in a large photograph. Holes with
       overlapping windows share one if that costs no more.
tile   overlapping tiles of the part that has holes, for holes that do not fit into memory. Tiles with the fewest
       unknown pixels come first, and later tiles see their result. Tiles without a hole are not computed.
auto   one of these, by size and memory: see ``Strategy.plan``.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lama.pixels.opened import Array, to_kind
from lama.progress_bar import bar
from lama.strategies.memory import Memory
from lama.windows import Piece, Window, bounding_box, context, hole_pieces, ramp, tiles

logger = logging.getLogger(__name__)

STRATEGIES = ("auto", "full", "crop", "tile")
_SMALL = 512 * 512  # pixels up to which ``auto`` always takes the whole frame
_CHEAPER = 2  # ``auto`` prefers crops if they have so many times fewer pixels
_LEAST_TILE = 128  # a smaller tile sees too little context
Predict = Callable[[Array, NDArray[np.bool_], bool], NDArray[np.float32]]  # pixels, hole, chunked -> (h, w, 3)


@dataclass(frozen=True)
class Plan:
    """Windows to compute: independent ``pieces``, or ``tiles``, which depend on each other."""

    name: str
    pieces: Sequence[Piece] = ()
    tiles: Sequence[Window] = ()
    overlap: int = 0  # pixels that neighbouring tiles share
    chunked: bool = False  # tiles are computed in chunks of rows
    beside: int = 0  # bytes that tiles need in addition to the computation of one

    @property
    def windows(self) -> list[Window]:
        """The windows of all pieces or tiles."""
        return [piece.window for piece in self.pieces] or list(self.tiles)


@dataclass(frozen=True)
class Strategy:
    """Plans the computation of one image at a time. Raises ValueError for values out of range."""

    name: str = "auto"
    margin: int | None = None  # pixels of context around a hole; None: half of its longer side, 128 at least
    tile: int = 1024  # height and width of a tile; smaller if memory is short
    binding: bool = False  # the limit of memory was set by the user; it is no estimate of free memory
    _logged: set[str] = field(default_factory=set, init=False, repr=False, compare=False)  # each choice is logged once

    def __post_init__(self) -> None:
        if self.name not in STRATEGIES:
            raise ValueError(f"strategy={self.name}: expected one of {', '.join(STRATEGIES)}")
        if self.margin is not None and self.margin < 0:
            raise ValueError(f"margin={self.margin}: expected pixels, 0 or more, or null")
        if self.tile < _LEAST_TILE:
            raise ValueError(f"tile={self.tile}: expected at least {_LEAST_TILE} pixels")

    def plan(self, hole: NDArray[np.bool_], memory: Memory, multiple: int = 8) -> Plan:
        """The plan for a hole (H, W) that has at least one pixel.

        ``auto`` takes the whole frame up to 512 x 512. For larger images it takes the first that fits into memory of:
        crops, if they have at most half of the pixels; the whole frame, in chunks of rows if necessary; crops; tiles.
        Raises ValueError if nothing fits, or if the chosen strategy does not fit under ``max_memory``.
        """
        frame = Window(0, hole.shape[0], 0, hole.shape[1])
        around = context(self.margin, hole.shape[0], hole.shape[1], multiple)
        whole = Plan("full", [Piece(frame, hole)])
        if self.name == "full" or (self.name == "auto" and frame.area <= _SMALL and _fits(whole, memory)):
            return self._checked(whole, frame, memory, "asked for" if self.name == "full" else "a small image")
        if self.name == "tile":
            return self._checked(self._tiles(hole, around, memory, multiple), frame, memory, "asked for")
        parts = Plan("crop", hole_pieces(hole, around, memory.fits))
        if self.name == "crop":
            return self._checked(parts, frame, memory, "asked for")
        cheap = _CHEAPER * sum(piece.window.area for piece in parts.pieces) <= frame.area
        if _fits(parts, memory) and (cheap or not _fits(whole, memory)):
            why = "the holes and their surroundings are a small part" if cheap else "the whole frame does not fit"
            return self._checked(parts, frame, memory, why)
        if _fits(whole, memory):
            return self._checked(whole, frame, memory, "it fits, and crops would not be much less work")
        return self._checked(self._tiles(hole, around, memory, multiple), frame, memory, "neither frame nor crops fit")

    def _tiles(
        self, hole: NDArray[np.bool_], around: Callable[[Window], Window], memory: Memory, multiple: int
    ) -> Plan:
        region, size = around(bounding_box(hole)), self.tile
        beside = 20 * region.area  # sums, weights and the mask of unknown pixels
        room = replace(memory, limit=memory.limit - beside)
        while size > _LEAST_TILE and not room.fits(size, size):
            size = max(_LEAST_TILE, size * 3 // 4 // multiple * multiple)
        chosen = [window for window in tiles(region, size, size // 4) if hole[window.slices].any()]
        chunked = room.chunked(min(size, region.height), min(size, region.width))
        return Plan("tile", tiles=chosen, overlap=size // 4, chunked=chunked, beside=beside)

    def _checked(self, plan: Plan, frame: Window, memory: Memory, why: str) -> Plan:
        """Log the choice of ``auto`` for a large image; raise or warn if it does not fit."""
        windows = plan.windows
        largest = max(windows, key=lambda window: window.area)
        chunked = plan.chunked or memory.chunked(largest.height, largest.width)
        needs, limit = memory.needs(largest.height, largest.width, chunked) + plan.beside, memory.limit
        what = f"strategy {plan.name} for {frame.width} x {frame.height}" + (", in chunks of rows" if chunked else "")
        news = self.name == "auto" and frame.area > _SMALL and what + why not in self._logged
        self._logged.add(what + why)
        logger.log(
            logging.INFO if news else logging.DEBUG,
            "%s (%s): %d window%s up to %d x %d, %.0f %% of the pixels, about %.2g of %.2g GB",
            what, why, len(windows), "s" * (len(windows) > 1), largest.width, largest.height,
            100 * sum(window.area for window in windows) / frame.area, needs / 1e9, limit / 1e9,
        )  # fmt: skip
        if needs > limit:
            advice = "use strategy=auto" if plan.name != "tile" else "use a machine with more memory"
            problem = f"{what} needs about {needs / 1e9:.2g} of the {limit / 1e9:.2g} GB that it may take; {advice}"
            if self.binding or self.name == "auto":
                raise ValueError(f"{problem} or a larger max_memory" if self.binding else problem)
            logger.warning("%s", problem)
        return plan


def _fits(plan: Plan, memory: Memory) -> bool:
    return all(memory.fits(window.height, window.width) for window in plan.windows)


def fill_tiles(filled: Array, hole: NDArray[np.bool_], plan: Plan, predict: Predict) -> None:
    """Fill the hole (H, W) of ``filled`` (H, W, 3), in place, tile by tile; the tile with most known pixels is next.

    Pixels that earlier tiles have filled well inside their borders count as known: a tile in the middle of a large
    hole has context. Overlapping results are blended, with weights that fall towards the borders of a tile.
    """
    region = bounding_box(hole)
    for window in plan.tiles:
        region = region.union(window)
    total = np.zeros((region.height, region.width, 3), np.float32)
    weight = np.zeros((region.height, region.width), np.float32)
    unknown, waiting = hole.copy(), list(plan.tiles)
    with bar(len(waiting), "tiles", delay=2) as progress:
        while waiting:
            window = min(waiting, key=lambda w: unknown[w.slices].mean())
            waiting.remove(window)
            here = window.slices
            inside = (
                slice(window.top - region.top, window.bottom - region.top),
                slice(window.left - region.left, window.right - region.left),
            )
            if unknown[here].any():
                share = ramp(window, region, plan.overlap)
                values = predict(filled[here], unknown[here], plan.chunked)
                total[inside] += share[..., None] * values
                weight[inside] += share
                mean = total[inside] / weight[inside][..., None]
                filled[here][hole[here]] = to_kind(mean[hole[here]], filled.dtype)
                unknown[here] &= weight[inside] < 0.5
            progress.update()

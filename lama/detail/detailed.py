"""Large holes at the network's own scale, and detail for its result: where the options ``detail`` and ``scale`` act.

A network fills well what has the scale that it was trained at. So each hole and its context are brought to ``scale``
pixels, filled, enlarged, and given the texture of the photograph (``lama.detail``).
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from lama.detail.kernel import can_compile
from lama.detail.synthesize import synthesize
from lama.pixels.opened import Array, OpenedImage
from lama.windows import Piece, Window, context, hole_pieces, sees

logger = logging.getLogger(__name__)

DETAILS = ("auto", "on", "off")
_SCALE = 512  # longer side in pixels at which a network works whose file states no scale
_MUCH = 2  # a window of so many times the scale is much larger than it
_LEAST_SCALE = 64
_PLAIN_MOST = 20_000  # pixels of a hole that NumPy is asked to synthesise, some ten seconds of it
Fill = Callable[[Sequence[OpenedImage], Sequence[Array]], None]


@dataclass(frozen=True)
class Detailed:
    """What ``detail`` and ``scale`` mean for one network. Raises ValueError for values out of range.

    ``auto`` is on for a network with a scale of its own (lama-small and what was trained from it), and for others where
    a hole with its context has more than twice 512 pixels; it is off with ``strategy=full`` and ``tile`` and with
    refinement. ``scale=None`` is the network's own, 256 for lama-small, or 512.
    """

    detail: str
    scale: int | None
    strategy: str
    margin: int | None
    own_scale: int | None  # of the network, from its file
    refined: bool = False
    said: set[str] = field(default_factory=set, compare=False)  # log lines of earlier images, which are not repeated

    def __post_init__(self) -> None:
        if self.detail not in DETAILS:
            raise ValueError(f"detail={self.detail}: expected {', '.join(DETAILS)}")
        if self.detail == "on" and self.refined:
            raise ValueError("detail=on does not go with refine=true: refined images keep the network's own detail")
        if self.scale is not None and self.scale < _LEAST_SCALE:
            raise ValueError(f"scale={self.scale}: expected at least {_LEAST_SCALE} pixels, or null")
        if self.scale is not None and (self.strategy == "tile" or self.refined):
            other = "refine=true" if self.refined else "strategy=tile"
            raise ValueError(f"scale={self.scale} does not go with {other}, which computes every pixel")

    def fill(
        self,
        opened: Sequence[OpenedImage],
        filled: Sequence[Array],
        fill: Fill,
        guides: dict[int, Array] | None = None,
        threads: int = 1,
    ) -> None:
        """Write results into the holes of ``filled``, in place; ``fill`` is the network's part of it.

        ``guides`` gets a copy of each image before detail is added, by its position. ``threads`` compute the texture;
        their number changes no pixel.
        """
        pieces = [self._pieces(image) if image.hole.any() else [] for image in opened]
        small = [
            [self._reduce(image, piece.window) for piece in some] for image, some in zip(opened, pieces, strict=True)
        ]
        alone = [i for i, some in enumerate(pieces) if not some]
        reduced = [image for images in small for image in images]
        results = [image.pixels.copy() for image in reduced]
        fill([*(opened[i] for i in alone), *reduced], [*(filled[i] for i in alone), *results])
        remaining = iter(results)
        for position, (image, target, some) in enumerate(zip(opened, filled, pieces, strict=True)):
            for piece in some:
                size = (piece.window.width, piece.window.height)
                enlarged = _resize(next(remaining), size, cv2.INTER_CUBIC)
                take = image.with_ignored(piece)
                target[piece.window.slices][take] = enlarged[take]
            if image.hole.any() and (self.detail == "on" or (self.detail == "auto" and some)):
                if guides is not None:
                    guides[position] = target.copy()
                longest = max((max(piece.window.height, piece.window.width) for piece in some), default=0)
                scale = min(self._scale, longest)  # smaller ones are not enlarged
                self._add_detail(image, target, len(some), scale, threads)
            elif some:
                self._say(f"scale: network at {self._scale} pixels at most, without detail")

    def _add_detail(self, image: OpenedImage, filled: Array, windows: int, scale: int, threads: int) -> None:
        """Replace ``filled`` in the hole, and log what was done, once for each kind."""
        started, count = time.monotonic(), int(image.hole.sum())
        texture = can_compile() or count <= _PLAIN_MOST
        hidden = image.ignored
        filled[:] = synthesize(image.pixels, image.hole, filled, threads=threads, texture=texture, unknown=hidden)
        done = (
            f"network at {f'{scale} pixels' if windows else 'full size'}, "
            + ("texture where the surroundings have it" if texture else
               f"colours levelled at the seam (more than {_PLAIN_MOST} pixels need a C++ compiler for texture)")
        )  # fmt: skip
        self._say(f"detail: {done}; detail=off gives the network's own")
        logger.debug("detail: %d pixels in %d windows, %.1f s", count, windows, time.monotonic() - started)

    def _say(self, line: str) -> None:
        logger.log(logging.DEBUG if line in self.said else logging.INFO, "%s", line)
        self.said.add(line)

    @property
    def _scale(self) -> int:
        return self.scale or self.own_scale or _SCALE

    def _pieces(self, image: OpenedImage) -> list[Piece]:
        """The windows that are computed at the scale; none where the image is computed as the strategy says."""
        found = self._around(image.hole)
        if image.ignored is not None and not sees([piece.window for piece in found], image.unknown):
            return self._around(image.unknown)
        return found

    def _around(self, hole: NDArray[np.bool_]) -> list[Piece]:
        whole = Window(0, hole.shape[0], 0, hole.shape[1])
        if self.strategy == "full" and self.scale is not None:
            return [Piece(whole, hole)]
        if self.strategy in ("full", "tile") or self.refined or (self.detail == "off" and self.scale is None):
            return []
        found = hole_pieces(hole, context(self.margin, whole.height, whole.width, 1))
        longest = max(max(piece.window.height, piece.window.width) for piece in found)
        much = longest > _MUCH * self._scale
        asked = self.detail == "on" or self.scale is not None or self.own_scale is not None
        return list(found) if much or asked else []

    def _reduce(self, image: OpenedImage, window: Window) -> OpenedImage:
        """The window with its longer side brought to the scale, if it is longer, the shorter one 64 pixels at least."""
        pixels, hole = image.pixels[window.slices], image.hole[window.slices]
        sides = window.height, window.width
        factor = max(self._scale / max(sides), _LEAST_SCALE / min(sides))
        if factor >= 1:
            ignored = None if image.ignored is None else image.ignored[window.slices]
            return OpenedImage(pixels, hole, lambda filled: filled, ignored)
        size = max(round(window.width * factor), 1), max(round(window.height * factor), 1)

        def reduced(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
            return np.asarray(cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 0)

        ignored = None if image.ignored is None else reduced(image.ignored[window.slices])
        return OpenedImage(_resize(pixels, size, cv2.INTER_AREA), reduced(hole), lambda filled: filled, ignored)


def _resize(pixels: Array, size: tuple[int, int], how: int) -> Array:
    """(H, W, 3) at another size (width, height), in the same type."""
    native = np.float32 if pixels.dtype.kind == "f" else pixels.dtype.newbyteorder("=")
    resized = cv2.resize(np.ascontiguousarray(pixels, native), size, interpolation=how)
    return resized.clip(0, 1).astype(pixels.dtype) if pixels.dtype.kind == "f" else resized.astype(pixels.dtype)

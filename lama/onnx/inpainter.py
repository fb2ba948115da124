"""``Inpainter`` without torch: the same images, masks and strategies as ``lama.Inpainter``."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lama.machine.free import SHARE, free_memory
from lama.onnx.network import Network
from lama.onnx.scaled import LEAST, enlarged, reduced
from lama.pixels.opened import Array, OpenedImage, open_image, to_kind
from lama.progress_bar import bar
from lama.strategies.memory import Memory
from lama.strategies.plan import Plan, Strategy, fill_tiles
from lama.windows import Piece, Window, context, hole_pieces, sees

AnyImage = TypeVar("AnyImage", np.ndarray, Image.Image)
AnyMask = Array | Image.Image


class Inpainter:
    """``inpainter(image, mask)``: the image with its hole filled, of the same kind, type and size.

    Takes the same arguments as ``lama.Inpainter``. An image is an array, (H, W) or (H, W, 1 to 4), of uint8, uint16 or
    float in [0, 1], or a PIL image. A mask is an array (H, W) or a PIL image; every pixel above 0 is a hole. Any size
    works. Known pixels are returned bit for bit.

    ``lama.load(model, detail="off")`` gives the same result. ``feather``, refinement and computation in chunks of rows
    are missing here, because they need torch or OpenCV. Raises ImportError without onnxruntime, or with ``detail``
    without OpenCV and SciPy, FileNotFoundError without a file, ValueError for a file of another kind and for an option
    out of range.
    """

    def __init__(
        self,
        path: str | Path,  # of a file that ``lama export format=onnx`` has written
        strategy: str = "auto",  # full, crop, tile: see ``lama.strategies``
        max_memory: float | None = None,  # GB that a prediction may take in addition to network and image
        margin: int | None = None,  # crop: pixels of context around a hole; None: half its longer side, 128 at least
        tile: int = 1024,  # tile: height and width in pixels; smaller if memory is short
        scale: int | None = None,  # longer side in pixels at which the network sees a hole and its context
        threads: int | None = None,  # of ONNX Runtime; None: it chooses
        providers: Sequence[str] = ("CPUExecutionProvider",),  # of ONNX Runtime, in the order of preference
        detail: str = "off",  # auto, on: texture of the photograph in the hole; see ``lama.detail.Detailed``
    ) -> None:
        whole = {"margin": margin, "tile": tile, "scale": scale, "threads": threads}
        for name, value in whole.items():
            if not isinstance(value, int | np.integer) and (value is not None or name == "tile"):
                raise ValueError(f"{name}={value!r}: expected a whole number{'' if name == 'tile' else ', or None'}")
        if not isinstance(max_memory, int | float | np.number | None) or (
            max_memory is not None and not max_memory > 0
        ):
            raise ValueError(f"max_memory={max_memory!r}: expected GB, more than 0, or None")
        if scale is not None and scale < LEAST:
            raise ValueError(f"scale={scale}: expected at least {LEAST} pixels, or None")
        if scale is not None and strategy == "tile":
            raise ValueError(f"scale={scale} does not go with strategy=tile, which computes every pixel")
        self._strategy = Strategy(strategy, margin, tile, binding=max_memory is not None)
        self._network = Network(path, threads, providers)
        self._scale, self._max_memory = scale, max_memory
        self._threads = threads or os.cpu_count() or 1
        self._detailed: Any = None
        if detail != "off":
            from lama.detail import Detailed  # needs OpenCV and SciPy

            self._detailed = Detailed(detail, scale, strategy, margin, self._network.scale)
        self._options: dict[str, Any] = {
            "path": path, "strategy": strategy, "max_memory": max_memory, "margin": margin, "tile": tile,
            "scale": scale, "threads": threads, "providers": providers, "detail": detail,
        }  # fmt: skip

    def __call__(self, image: AnyImage, mask: AnyMask, ignore: AnyMask | str | None = None) -> AnyImage:
        """Raises ValueError for an unsupported image or mask, for sizes that differ, and if memory is short."""
        opened = open_image(image, mask, ignore)
        filled = opened.pixels.copy()
        if opened.hole.any():
            if self._detailed is not None:
                self._detailed.fill([opened], [filled], self._fill_all, threads=self._threads)
            elif self._scale is None:
                self._fill(opened, filled)
            else:
                self._fill_scaled(opened, filled, self._scale)
        return opened.restore(filled)

    def __repr__(self) -> str:
        return f"Inpainter({', '.join(f'{name}={value!r}' for name, value in self._options.items() if value)})"

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """For pickle and copy: the file is opened again."""
        return partial(Inpainter, **self._options), ()

    def _fill(self, opened: OpenedImage, filled: Array) -> None:
        """Write the prediction into the hole of ``filled``, in place."""
        plan = self._plan(opened)
        with bar(len(plan.pieces), "pieces", delay=2, disable=len(plan.pieces) < 2) as progress:
            for piece in plan.pieces:
                here, take = piece.window.slices, opened.with_ignored(piece)
                values = self._network.predict(opened.pixels[here], opened.unknown[here])
                filled[here][take] = to_kind(values[take], filled.dtype)
                progress.update()
        if plan.tiles:
            fill_tiles(filled, opened.unknown, plan, self._predict)

    def _fill_all(self, opened: Sequence[OpenedImage], filled: Sequence[Array]) -> None:
        for image, pixels in zip(opened, filled, strict=True):
            self._fill(image, pixels)

    def _predict(self, pixels: Array, hole: NDArray[np.bool_], chunked: bool) -> NDArray[np.float32]:
        return self._network.predict(pixels, hole)

    def _plan(self, opened: OpenedImage) -> Plan:
        limit = int(SHARE * free_memory())
        if self._max_memory is not None:
            limit = min(limit, int(self._max_memory * 1e9))
        memory = Memory(limit, top=self._network.bytes_per_pixel, blocks=0.0, chunk=None)
        plan = self._strategy.plan(opened.hole, memory)
        if opened.ignored is not None and not sees(plan.windows, opened.unknown):
            plan = self._strategy.plan(opened.unknown, memory)
        return plan

    def _fill_scaled(self, opened: OpenedImage, filled: Array, scale: int) -> None:
        """``_fill`` of each hole with its context, reduced to ``scale`` pixels and enlarged again, in place."""
        for piece in self._around(opened):
            small = reduced(opened, piece.window, scale)
            result = small.pixels.copy()
            self._fill(small, result)
            height, width = piece.window.height, piece.window.width
            large = result if small.hole.shape == (height, width) else enlarged(result, height, width)
            take = opened.with_ignored(piece)
            filled[piece.window.slices][take] = large[take]

    def _around(self, opened: OpenedImage) -> list[Piece]:
        height, width = opened.hole.shape
        if self._strategy.name == "full":
            return [Piece(Window(0, height, 0, width), opened.hole)]
        around = context(self._strategy.margin, height, width, 1)
        found = hole_pieces(opened.hole, around)
        if opened.ignored is not None and not sees([piece.window for piece in found], opened.unknown):
            found = hole_pieces(opened.unknown, around)
        return found

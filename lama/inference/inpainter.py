"""Remove things from images with a trained generator."""

import inspect
import logging
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from lama.checkpoints import load_generator
from lama.conventions import pad_for, padded_size, predict
from lama.detail import Detailed
from lama.fast.fuse import PRECISIONS, can_fuse, fuse
from lama.fast.graphs import with_graphs
from lama.inference.feather import feather as soften
from lama.inference.network_input import network_input
from lama.inference.peak import estimate
from lama.inference.refine import Refiner
from lama.machine.device import float32, has_fast_bf16, one_thread, pick_device
from lama.machine.memory import available
from lama.pixels.opened import Array, OpenedImage, open_image, to_kind
from lama.progress_bar import bar
from lama.strategies.memory import Memory
from lama.strategies.plan import Plan, Strategy, fill_tiles
from lama.windows import Piece, sees

AnyImage = TypeVar("AnyImage", np.ndarray, Image.Image)
AnyMask = Array | Image.Image
_Job = tuple[OpenedImage, Array, Piece]  # an image, the pixels that its result is written to, and a piece to compute

logger = logging.getLogger(__name__)


class Inpainter:
    """``inpainter(image, mask)``: the image with its hole filled, of the same kind, type and size.

    ``image`` is a NumPy array of uint8, uint16, or float in [0, 1], of shape (H, W, 3) RGB, (H, W, 4), (H, W) or
    (H, W, 1), or a PIL image: L, LA, RGB, RGBA and I;16 keep their mode, 1 becomes L, other modes RGB or RGBA, and
    ``.info`` (colour profile, EXIF) is kept. PIL images are not rotated by their EXIF orientation. ``mask`` is an array
    (H, W), (H, W, 1) or (H, W, 3) of any number type, or a PIL image; alpha counts as in ``lama.pictures.MaskReader``.
    Every mask pixel above 0 is a hole. ``ignore``, of the same kinds or a colour such as "black", marks pixels that
    the network must not see; they stay as they are. Pixels of alpha 0 are ignored too, unless nothing else is known.
    Known pixels are returned bit for bit, and alpha is kept. An empty mask costs nothing. Any size works.

    ``.generator`` is the plain module, (B, 4, H, W) -> (B, 3, H, W). Evaluation uses ``strategy="full", fast=False``,
    the plain network on the whole frame: its results do not depend on the memory of a machine. A generator of a class
    without a fast equivalent (``lama.fast.fuse.FUSED``) always computes by itself. Raises ValueError for options that
    are out of range or contradict each other, and for a device that is missing or computes wrong results.
    """

    def __init__(
        self,
        generator: nn.Module,
        device: str = "auto",  # auto: cuda, else mps, else cpu; or a name torch knows
        precision: str = "fp32",  # or bf16: faster, less exact, Fourier transforms stay in fp32; or tf32, on a GPU
        strategy: str = "auto",  # full, crop, tile: see ``lama.strategies``
        feather: int = 0,  # pixels inside the hole over which the step at the seam is smoothed
        fast: bool = True,  # use the fast equivalent of the generator, equal to 5e-5 in fp32
        max_memory: float | None = None,  # GB that a prediction may take in addition to network and image
        margin: int | None = None,  # crop: pixels of context around a hole; None: half its longer side, 128 at least
        tile: int = 1024,  # tile: height and width in pixels; smaller if memory is short
        compiled: bool = True,  # let the fast equivalent use the C++ kernel if there is a compiler
        graphs: bool = False,  # on a GPU: record CUDA graphs of the network, for images of few sizes
        refiner: Refiner | None = None,  # refine every image, whole, in fp32: slow, for large holes in large images
        detail: str = "auto",  # on, off: texture of the photograph in the hole; see ``lama.detail.Detailed``
        scale: int | None = None,  # longer side in pixels at which the network sees a hole and its context
    ) -> None:
        if precision not in (*PRECISIONS, "tf32"):
            raise ValueError(f"precision={precision}: expected {', '.join(PRECISIONS)} or tf32")
        if precision == "bf16" and not fast:
            raise ValueError("precision=bf16 needs fast=true: the plain network computes in fp32")
        if precision == "bf16" and not can_fuse(generator):
            raise ValueError(f"precision=bf16: {type(generator).__name__} has no fast equivalent; use precision=fp32")
        if refiner is not None and (strategy not in ("auto", "full") or precision != "fp32"):
            expected = "expected strategy=auto or full and precision=fp32"
            raise ValueError(f"refine=true: {expected}, got strategy={strategy} and precision={precision}")
        if refiner is not None and max_memory is not None:
            raise ValueError("max_memory and refine=true: expected one of them; refiner.px_budget bounds the memory")
        if refiner is not None and not isinstance(refiner, Refiner):
            raise ValueError(f"refiner: expected lama.inference.Refiner(...) or None, got {refiner!r}")
        if feather < 0:
            raise ValueError(f"feather={feather}: expected pixels, 0 or more")
        if max_memory is not None and not max_memory > 0:
            raise ValueError(f"max_memory={max_memory}: expected GB, more than 0, or null")
        self._options: dict[str, Any] = {
            "precision": precision, "strategy": strategy, "feather": feather, "fast": fast, "max_memory": max_memory,
            "margin": margin, "tile": tile, "compiled": compiled, "graphs": graphs, "refiner": refiner,
            "detail": detail, "scale": scale,
        }  # fmt: skip
        own_scale: Any = getattr(generator, "own_scale", None)  # from its file
        self._detailed = Detailed(detail, scale, strategy, margin, own_scale, refined=refiner is not None)
        self.strategy = Strategy(strategy, margin, tile, binding=max_memory is not None)
        self.device = pick_device(device)
        self.generator = generator.eval().to(self.device)
        if precision == "bf16" and not has_fast_bf16(self.device):
            logger.warning("precision=bf16: this %s is not known to be fast in it; computing in fp32", self.device.type)
            precision = "fp32"
        self._tf32, precision = precision == "tf32", precision.replace("tf32", "fp32")
        self._precision, self._fast, self._compiled = precision, fast and can_fuse(generator), compiled
        self._feather, self._max_memory, self._refiner = feather, max_memory, refiner

    def __call__(self, image: AnyImage, mask: AnyMask, ignore: AnyMask | str | None = None) -> AnyImage:
        """Raises ValueError for an unsupported image or mask, for sizes that differ, and if memory is short."""
        return self.many([image], [mask], ignore=[ignore])[0]

    def raw(self, image: AnyImage, mask: Array | Image.Image) -> AnyImage:
        """The network's output for the whole frame, known pixels included (official: ``out_key=predicted_image``)."""
        opened = open_image(image, mask)
        x = network_input(opened.pixels, opened.unknown)
        values = self.predict(x[:, :3], x[:, 3:])[0].permute(1, 2, 0).cpu().numpy()
        return opened.restore(to_kind(values, opened.pixels.dtype))

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options.items() if value is not None)
        return f"Inpainter({type(self.generator).__name__}, {str(self.device)!r}{options})"

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: without the fast equivalent, which holds compiled code and is built again."""
        return {name: value for name, value in self.__dict__.items() if name != "_network"}

    def variant(self, **options: Any) -> "Inpainter":
        """The same model with other options, ``variant(feather=4)``, and the same network. Raises like the class."""
        other = Inpainter(self.generator, str(self.device), **self._options | options)
        if all(self._options[key] == other._options[key] for key in ("precision", "fast", "compiled", "graphs")):
            other.__dict__["_network"] = self._network
        return other

    def many(
        self, images: Sequence[AnyImage], masks: Sequence[AnyMask], batch_size: int = 8,
        ignore: Sequence[AnyMask | str | None] | str | None = None,
    ) -> list[AnyImage]:  # fmt: skip
        """Fill several images, of any sizes and kinds; the same results as one by one, up to rounding.

        Images of equal padded size are computed together, at most ``batch_size`` at a time and no more than fit into
        memory. Raises ValueError as a call does, with the image's position, before anything is computed.
        """
        if len(images) != len(masks):
            raise ValueError(f"expected a mask for every image, got {len(images)} images and {len(masks)} masks")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        return [result for result, _ in self._many(images, masks, batch_size, ignore)]

    def with_guide(
        self, image: AnyImage, mask: AnyMask, ignore: AnyMask | str | None = None
    ) -> tuple[AnyImage, AnyImage | None]:
        """What a call returns, and the network's own result if ``detail`` has changed it. Raises as a call does."""
        return self._many([image], [mask], 1, [ignore], {})[0]

    def _many(
        self, images: Sequence[AnyImage], masks: Sequence[AnyMask], batch_size: int,
        ignore: Sequence[AnyMask | str | None] | str | None, guides: dict[int, Array] | None = None,
    ) -> list[tuple[AnyImage, AnyImage | None]]:  # fmt: skip
        """Results; each with the network's own one, if a dictionary ``guides`` is given and detail was added."""
        opened = []
        apart = [ignore] * len(images) if ignore is None or isinstance(ignore, str) else ignore
        if len(apart) != len(images):
            raise ValueError(f"ignore: expected one for each of {len(images)} images, or a colour; got {len(apart)}")
        for position, (image, mask, parts) in enumerate(zip(images, masks, apart, strict=True)):
            try:
                opened.append(open_image(image, mask, parts))
            except ValueError as error:
                raise ValueError(f"image {position}: {error}" if len(images) > 1 else str(error)) from None
        filled = [item.pixels.copy() for item in opened]
        if self._refiner is None:
            with float32(self._tf32):
                fill = partial(self._fill, batch_size=batch_size)
                self._detailed.fill(opened, filled, fill, guides, torch.get_num_threads())
        else:
            for item, pixels in ((i, f) for i, f in zip(opened, filled, strict=True) if i.hole.any()):
                x = network_input(item.pixels, item.unknown)
                with float32():
                    values = self._refiner(self.generator, x[:, :3], x[:, 3:])[0].permute(1, 2, 0).cpu().numpy()
                pixels[item.hole] = to_kind(values[item.hole], pixels.dtype)

        def restored(item: OpenedImage, pixels: Array) -> Any:
            soft = self._feather and item.hole.any()
            return item.restore(soften(pixels, item.unknown, self._feather) if soft else pixels)

        pairs = zip(opened, filled, strict=True)
        return [
            (restored(item, pixels), restored(item, guides[i]) if guides and i in guides else None)
            for i, (item, pixels) in enumerate(pairs)
        ]

    def _fill(self, opened: Sequence[OpenedImage], filled: Sequence[Array], batch_size: int) -> None:
        """Write the prediction into the holes of ``filled``, in place."""
        memory = self._memory()
        plans = [self._plan(image, memory) for image in opened]
        planned = zip(opened, filled, plans, strict=True)
        self._fill_pieces([(p, f, piece) for p, f, plan in planned for piece in plan.pieces], memory, batch_size)
        for image, pixels, plan in zip(opened, filled, plans, strict=True):
            if plan.tiles:
                fill_tiles(pixels, image.unknown, plan, self._predict_alone)

    @torch.inference_mode()
    def predict(self, image: Tensor, mask: Tensor) -> Tensor:
        """Raw output for image (B, 3, H, W) in [0, 1] and mask (B, 1, H, W), 1 = hole; any H and W: (B, 3, H, W).

        The whole frame at once for every strategy; with ``fast=False``, exactly the output of the trained module.
        """
        with float32(self._tf32):
            return predict(self._network, image.to(self.device), mask.to(self.device))

    @cached_property
    def _network(self) -> nn.Module:
        """The network that computes, built at the first use since the fast equivalent holds a copy of the weights."""
        network = self._fused_or_own()
        return with_graphs(network, self.device) if self._options["graphs"] else network

    def _fused_or_own(self) -> nn.Module:
        if not self._fast:
            if self._options["fast"]:
                logger.info("%s has no fast equivalent: computing by itself", type(self.generator).__name__)
            return self.generator
        return fuse(self.generator, precision=self._precision, compiled=self._compiled)

    def _memory(self) -> Memory:
        limit = available(self.device)
        if self._max_memory is not None:
            limit = min(limit, int(self._max_memory * 1e9))
        return estimate(self.generator, self._precision if self._fast else "plain", limit)

    def _plan(self, image: OpenedImage, memory: Memory) -> Plan:
        if not image.hole.any():
            return Plan("nothing to fill")
        multiple = int(self.generator.pad_multiple)  # type: ignore[arg-type]
        plan = self.strategy.plan(image.hole, memory, multiple)
        if image.ignored is not None and not sees(plan.windows, image.unknown):
            plan = self.strategy.plan(image.unknown, memory, multiple)
        return plan

    def _fill_pieces(self, jobs: Sequence[_Job], memory: Memory, batch_size: int) -> None:
        """Compute pieces that do not depend on each other, and write the pixels they ``take``, in place."""
        with bar(len(jobs), "pieces", delay=2, disable=len(jobs) < 2) as progress:
            for group in self._batches(jobs, memory, batch_size):
                inputs, chunked = [], False
                for image, _, piece in group:
                    window = piece.window
                    chunked = memory.chunked(window.height, window.width)
                    x = network_input(image.pixels[window.slices], image.unknown[window.slices])
                    inputs.append(pad_for(self.generator, x))
                x = torch.cat(inputs) if len(inputs) > 1 else inputs[0]
                del inputs  # for a large image memory is short
                predicted = self._predict(x, chunked)
                del x
                for values, (image, filled, piece) in zip(predicted, group, strict=True):
                    window, take = piece.window, image.with_ignored(piece)
                    values = values[: window.height, : window.width]
                    filled[window.slices][take] = to_kind(values[take], image.pixels.dtype)
                progress.update(len(group))

    def _batches(self, jobs: Sequence[_Job], memory: Memory, batch_size: int) -> Iterator[list[_Job]]:
        """Jobs of equal padded size together, as many as fit; a job that is computed in chunks, alone."""
        multiple, least = int(self.generator.pad_multiple), int(self.generator.min_size)  # type: ignore[arg-type]

        def size(job: _Job) -> tuple[int, int]:
            window = job[2].window
            return padded_size(window.height, multiple, least), padded_size(window.width, multiple, least)

        for (height, width), group in groupby(sorted(jobs, key=size), key=size):
            equal, together = list(group), batch_size
            while together > 1 and memory.needs(height, width, batch=together) > memory.limit:
                together -= 1
            yield from (equal[i : i + together] for i in range(0, len(equal), together))

    def _predict_alone(self, pixels: Array, hole: NDArray[np.bool_], chunked: bool) -> NDArray[np.float32]:
        """(h, w, 3) and (h, w) -> prediction (h, w, 3) in about [0, 1]."""
        predicted = self._predict(pad_for(self.generator, network_input(pixels, hole)), chunked)
        return predicted[0, : hole.shape[0], : hole.shape[1]]

    @torch.inference_mode()
    def _predict(self, x: Tensor, chunked: bool) -> NDArray[Any]:
        """Padded (B, 4, H, W) -> (B, H, W, 3), a view. Raises ValueError if memory runs out or the result is NaN."""
        network: Any = self._network
        x = x.to(self.device)
        try:
            predicted = (network.forward_chunked(x) if chunked else network(x)).float().cpu()
        except RuntimeError as error:
            if not any(words in str(error) for words in ("out of memory", "allocate memory")):  # cuda and mps, cpu
                raise
            raise ValueError(
                f"out of memory for {x.shape[0]} x {x.shape[-1]} x {x.shape[-2]} pixels on {self.device}; "
                "set max_memory to fewer GB with strategy=auto, or strategy=tile"
            ) from error
        if not predicted.isfinite().all():
            raise ValueError("the network's output is not finite: its weights are damaged, or it needs precision=fp32")
        return predicted.permute(0, 2, 3, 1).numpy()


def load(path: str | Path, device: str = "auto", **options: Any) -> Inpainter:
    """The model at ``path`` (any that ``lama.checkpoints`` can open), ready to use; weights are read on the CPU first.

    ``options`` go to ``Inpainter``: precision, strategy, feather, fast, max_memory, margin, tile, compiled, graphs,
    refiner, detail and scale. Raises FileNotFoundError or ValueError, in one line, if there is no model or an option is
    out of range, TypeError for an unknown option.
    """
    known = list(inspect.signature(Inpainter).parameters)[2:]
    unknown = next((name for name in options if name not in known), None)
    if unknown is not None:
        near = "".join(f", do you mean {name}?" for name in get_close_matches(unknown, known, n=1))
        raise TypeError(f"{unknown}: unknown option{near}; known: {', '.join(known)}")
    with one_thread():  # without OpenMP's threads the process may still be forked
        return Inpainter(load_generator(path), device, **options)

"""Feature refinement: the hole of a large image, made consistent with the sharper prediction at half its size.

Kulshreshtha et al., "Feature Refinement to Improve High Resolution Image Inpainting", arXiv 2206.13644. From the
coarsest level of a pyramid to the finest, Adam optimises the features in front of the first residual block. The halved
prediction is to agree with the result of the coarser level deep inside the hole, and the prediction with the image
where it is known. The weights stay the same.

Blocks and decoder are recomputed in the backward pass, piece by piece: memory grows with the image, hardly with the
depth of the network. Blur and erosion are kornia's, as in the official code.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lama.conventions import check_image_and_mask, composite, generator_input, padded_size
from lama.interfaces import StagedGenerator
from lama.progress_bar import bar

logger = logging.getLogger(__name__)

_EPS = 1e-8  # mask values from here on are hole

Level = tuple[Tensor, Tensor]  # image (1, 3, H, W) and binary mask (1, 1, H, W)
Features = Tensor | tuple[Tensor | None, ...]  # the input of the first residual block, e.g. (local, global)


class Refiner:
    """``refiner(generator, image, mask)``: the refined prediction, of the size that went in.

    Names and values are taken from the official configuration. Raises ValueError for values out of range.
    """

    def __init__(
        self,
        modulo: int = 8,  # every level is padded to a multiple of it, by reflection
        n_iters: int = 15,  # forward passes per level above the coarsest; one update less
        lr: float = 0.002,  # of Adam
        min_side: int = 512,  # the shorter side of the coarsest level is about this
        max_scales: int = 3,  # levels of the pyramid, at most
        px_budget: int = 1_800_000,  # larger images are refined at this many pixels, and the result is enlarged
    ) -> None:
        for name, value, least in (
            ("modulo", modulo, 1), ("n_iters", n_iters, 1), ("min_side", min_side, 2), ("max_scales", max_scales, 1),
            ("px_budget", px_budget, 1),
        ):  # fmt: skip
            if value < least:
                raise ValueError(f"refiner.{name}: expected at least {least}, got {value}")
        if not 0 < lr < math.inf:
            raise ValueError(f"refiner.lr: expected a number above 0, got {lr}")
        self.modulo, self.n_iters, self.lr = modulo, n_iters, lr
        self.min_side, self.max_scales, self.px_budget = min_side, max_scales, px_budget

    def __call__(self, generator: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] and mask (B, 1, H, W), 1 = hole -> predicted (B, 3, H, W), any H and W.

        The generator has ``stages`` and is unchanged afterwards; the result is on its device. Above ``px_budget`` the
        prediction is computed for the image ``within_budget`` and enlarged. Images of a batch are refined one after
        the other. Raises ValueError for shapes that do not match and for a generator without ``stages``.
        """
        check_image_and_mask(image, mask)
        network = _Halves(generator)
        device = next(generator.parameters()).device
        with torch.inference_mode(False), torch.enable_grad(), _frozen(generator):
            predicted = [
                self._refine(
                    network, *within_budget(image[i : i + 1].to(device), mask[i : i + 1].to(device), self.px_budget)
                )
                for i in range(len(image))
            ]
        result = torch.cat(predicted)
        if result.shape != image.shape:
            result = F.interpolate(result, image.shape[-2:], mode="bicubic").clamp(0, 1)
        return result

    def _refine(self, network: "_Halves", image: Tensor, mask: Tensor) -> Tensor:
        """The prediction for one image, from the coarsest level to the finest."""
        levels = self._pyramid(image, mask) if bool(mask.any()) else [(image, mask)]
        if len(levels) == 1 and bool(mask.any()):
            height, width = image.shape[-2:]
            logger.info("%d x %d pixels: one scale (refiner.min_side=%d, max_scales=%d), so there is nothing to refine",
                        width, height, self.min_side, self.max_scales)  # fmt: skip
        reference = None
        with bar(1 + (len(levels) - 1) * self.n_iters, "refining", unit="pass") as progress:
            for image, mask in levels:
                predicted = self._refine_level(network, image, mask, reference, progress)
                reference = composite(predicted, image, mask)
        return predicted

    def _pyramid(self, image: Tensor, mask: Tensor) -> list[Level]:
        """Levels of half the size each, coarsest first. Every pixel that the blurred mask touches is hole."""
        octaves = round(max(0.0, math.log2(min(image.shape[-2:]) / self.min_side)))
        levels = [(image, mask)]
        for _ in range(min(1 + octaves, self.max_scales) - 1):
            if min(image.shape[-2:]) < 3:  # too small to blur
                break
            image, mask = _half(_blur(image)), (_half(_blur(mask)) >= _EPS).to(mask)
            levels.append((image, mask))
        return levels[::-1]

    def _refine_level(
        self, network: "_Halves", image: Tensor, mask: Tensor, reference: Tensor | None, progress: bar
    ) -> Tensor:
        """Predicted (1, 3, H, W); without a ``reference`` from the coarser level, the network's own prediction."""
        height, width = image.shape[-2:]
        image, mask = (network.pad(x, self.modulo) for x in (image, mask))
        with torch.no_grad():
            features = network.encoder(generator_input(image, mask))
        if reference is not None:
            self._optimise(network, features, _Target(image, mask, (height, width), reference), progress)
        with torch.no_grad():
            predicted = network.rear(features)
        progress.update()
        return predicted[..., :height, :width]

    def _optimise(self, network: "_Halves", features: Features, target: "_Target", progress: bar) -> None:
        """Update ``features`` in place, ``n_iters - 1`` times."""
        if target.is_empty:
            return
        branches = (features,) if isinstance(features, Tensor) else features
        variables = [x.requires_grad_() for x in branches if x is not None]
        optimizer = torch.optim.Adam(variables, lr=self.lr)
        for _ in range(self.n_iters - 1):
            optimizer.zero_grad()
            target.loss(network.rear(features)).backward()
            optimizer.step()
            progress.update()


class _Target:
    """The target of a level: the known pixels, and the result of the coarser level deep inside the hole."""

    def __init__(
        self,
        image: Tensor,  # (1, 3, h, w), padded: the padding counts as image
        mask: Tensor,  # (1, 1, h, w), padded
        size: tuple[int, int],  # of the image without padding
        reference: Tensor,  # (1, 3, H // 2, W // 2)
    ) -> None:
        self.image, self.size, self.reference = image, size, reference
        self.known = mask < _EPS
        self.inside = _erode(_half(mask[..., : size[0], : size[1]]) >= 1 - _EPS)
        self.is_empty = not bool(self.known.any() or self.inside.any())

    def loss(self, predicted: Tensor) -> Tensor:
        """Mean absolute difference to the known pixels, plus that to the reference; scalar."""
        halved = _half(_blur(predicted[..., : self.size[0], : self.size[1]]))
        to_image = _mean_difference(predicted, self.image, self.known)
        return to_image + _mean_difference(halved, self.reference, self.inside)


class _Halves:
    """A generator, cut in front of its first residual block. Raises ValueError if it has no ``stages``."""

    def __init__(self, generator: nn.Module) -> None:
        if not isinstance(generator, StagedGenerator):
            name = type(generator).__name__
            raise ValueError(f"refine=true: expected a generator with stages(), got {name}; set it to false")
        self.encoder, blocks, decoder = generator.stages()
        self.pieces = [*blocks, *_pieces(decoder)]
        self.pad_multiple, self.min_size = int(generator.pad_multiple), int(generator.min_size)  # type: ignore[arg-type]

    def rear(self, features: Features) -> Tensor:
        """Blocks and decoder: features -> predicted (B, 3, H, W)."""
        x: Any = features
        for piece in self.pieces:
            recompute = torch.is_grad_enabled()
            x = checkpoint(piece, x, use_reentrant=False, preserve_rng_state=False) if recompute else piece(x)
        return x

    def pad(self, x: Tensor, modulo: int) -> Tensor:
        """Extend to a size that the network can compute and ``modulo`` divides, by reflection."""
        multiple = math.lcm(modulo, self.pad_multiple)
        for dim in (-2, -1):
            x = _reflect(x, dim, padded_size(x.shape[dim], multiple, self.min_size))
        return x


def _pieces(decoder: nn.Module) -> list[nn.Module]:
    """The decoder in pieces that end in a ReLU each, if it is an ``nn.Sequential``; one is recomputed at a time."""
    if not isinstance(decoder, nn.Sequential):
        return [decoder]
    ends = [i + 1 for i, layer in enumerate(decoder) if isinstance(layer, nn.ReLU)]
    return [decoder[start:end] for start, end in zip([0, *ends], [*ends, len(decoder)], strict=True) if start < end]


@contextmanager
def _frozen(generator: nn.Module) -> Iterator[None]:
    """Inside: eval mode, parameters without gradients. Afterwards everything is as before."""
    parameters = [(parameter, parameter.requires_grad) for parameter in generator.parameters()]
    modules = [(module, module.training) for module in generator.modules()]
    try:
        generator.eval().requires_grad_(False)
        yield
    finally:
        for parameter, flag in parameters:
            parameter.requires_grad_(flag)
        for module, flag in modules:
            module.training = flag


def within_budget(image: Tensor, mask: Tensor, px_budget: int) -> Level:
    """The image and its binary mask with at most ``px_budget`` pixels, reduced bilinearly as in the official code.

    The official result stays at that size; ``Refiner`` enlarges it.
    """
    height, width = image.shape[-2:]
    if height * width > px_budget:
        ratio = math.sqrt(px_budget / (height * width))
        size = max(1, int(height * ratio)), max(1, int(width * ratio))
        image, mask = (F.interpolate(x, size, mode="bilinear") for x in (image, mask))
    return image.clone(), (mask >= _EPS).to(image)  # a clone, since inference tensors cannot be differentiated


def _half(x: Tensor) -> Tensor:
    """Bilinear, to half of either side, rounded down."""
    return F.interpolate(x, (x.shape[-2] // 2, x.shape[-1] // 2), mode="bilinear")


def _blur(x: Tensor) -> Tensor:
    """Gaussian, 5 x 5, sigma 1, reflected borders; H and W are at least 3."""
    from kornia.filters import gaussian_blur2d  # here, since a prediction without refinement does not need it

    return gaussian_blur2d(x, (5, 5), (1.0, 1.0))


def _erode(hole: Tensor) -> Tensor:
    """bool (1, 1, H, W): True where OpenCV's 15 x 15 ellipse lies within the hole; outside the image all is hole."""
    from kornia.morphology import erosion

    rows = [round(math.sqrt(49 - (i - 7) ** 2)) for i in range(15)]
    ellipse = torch.tensor([[float(abs(j - 7) <= half) for j in range(15)] for half in rows], device=hole.device)
    return erosion(hole.float(), ellipse) > 0.5


def _reflect(x: Tensor, dim: int, size: int) -> Tensor:
    """Extend ``dim`` at its end by reflection without repeating the edge, to any ``size``, unlike ``F.pad``."""
    length = x.shape[dim]
    index = torch.arange(size, device=x.device) % max(1, 2 * length - 2)
    return x.index_select(dim, torch.where(index < length, index, 2 * length - 2 - index))


def _mean_difference(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """Mean of |a - b| over the pixels of the mask ``where`` (1, 1, H, W); 0 if it is empty."""
    return ((a - b).abs() * where).sum() / (a.shape[1] * where.sum()).clamp(min=1)

"""Feature refinement: a large image's hole, made consistent with the sharper answer at half its size.

Kulshreshtha et al., "Feature Refinement to Improve High Resolution Image Inpainting", arXiv 2206.13644. The generator
is cut in front of its first residual block. From the coarsest level of a pyramid to the finest, the features at the cut
are moved by Adam until the prediction, halved, agrees with the result one level below, deep inside the hole, and with
the image where it is known. The weights stay as they are.

Everything from the cut on is recomputed in the backward pass, piece by piece, in place of being kept: memory grows with
the image, hardly with the depth of the network.
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

from lama.conventions import check_image_and_mask, composite, generator_input
from lama.models.dilated import MultidilatedBlock
from lama.models.ffc import FFCResnetBlock
from lama.models.resnet import ResNetBlock
from lama.progress_bar import bar

logger = logging.getLogger(__name__)

_BLOCKS = (FFCResnetBlock, ResNetBlock, MultidilatedBlock)
_EPS = 1e-8  # a mask is a hole from here on

Level = tuple[Tensor, Tensor]  # image (1, 3, H, W) and binary mask (1, 1, H, W)
Features = tuple[Tensor | None, ...]  # what the first residual block gets: local and global branch, or one tensor


class Refiner:
    """``refiner(generator, image, mask)``: the refined prediction, of the size that went in.

    Names and values are those of the official configuration. Raises ValueError for values that mean nothing.
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

        The generator is one of ``lama.models``, and is the same afterwards; the result is on its device. Above
        ``px_budget`` the prediction is computed for the image ``within_budget`` and enlarged. Images of a batch are
        refined one after the other. Raises ValueError for shapes that do not go together or another network.
        """
        check_image_and_mask(image, mask)
        device = next(generator.parameters()).device
        with torch.inference_mode(False), torch.enable_grad(), _frozen(generator):
            network = _Halves(generator)
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
        """Half, and half of that, ... coarsest first; what the blurred hole has touched belongs to the hole."""
        octaves = round(max(0.0, math.log2(min(image.shape[-2:]) / self.min_side)))
        levels = [(image, mask)]
        for _ in range(min(1 + octaves, self.max_scales) - 1):
            image, mask = levels[-1]
            levels.append((_half(_blur(image)), (_half(_blur(mask)) >= _EPS).to(mask)))
        return levels[::-1]

    def _refine_level(
        self, network: "_Halves", image: Tensor, mask: Tensor, reference: Tensor | None, progress: bar
    ) -> Tensor:
        """Predicted (1, 3, H, W); without a reference, from a level below, the network's own."""
        height, width = image.shape[-2:]
        image, mask = (network.pad(x, self.modulo) for x in (image, mask))
        with torch.no_grad():
            features = network.front(generator_input(image, mask))
        if reference is not None:
            self._optimise(network, features, _Target(image, mask, (height, width), reference), progress)
        with torch.no_grad():
            predicted = network.rear(features)
        progress.update()
        return predicted[..., :height, :width]

    def _optimise(self, network: "_Halves", features: Features, target: "_Target", progress: bar) -> None:
        """Move ``features`` in place, ``n_iters - 1`` times."""
        if target.is_empty:
            return
        variables = [x.requires_grad_() for x in features if x is not None]
        optimizer = torch.optim.Adam(variables, lr=self.lr)
        for _ in range(self.n_iters - 1):
            optimizer.zero_grad()
            target.loss(network.rear(features)).backward()
            optimizer.step()
            progress.update()


class _Target:
    """What the prediction of a level shall agree with: the known pixels, and the level below deep inside the hole."""

    def __init__(
        self,
        image: Tensor,  # (1, 3, h, w), padded: the padding counts as image
        mask: Tensor,  # (1, 1, h, w), padded
        size: tuple[int, int],  # of the image without padding
        reference: Tensor,  # (1, 3, H // 2, W // 2)
    ) -> None:
        self.image, self.size, self.reference = image, size, reference
        self.known = mask < _EPS
        self.inside = _erode(_half(mask[..., : size[0], : size[1]]) >= 1 - _EPS)  # where there is nothing but hole
        self.is_empty = not bool(self.known.any() or self.inside.any())

    def loss(self, predicted: Tensor) -> Tensor:
        """Mean absolute difference to the known pixels, plus that to the reference; scalar."""
        halved = _half(_blur(predicted[..., : self.size[0], : self.size[1]]))
        return _mean_difference(predicted, self.image, self.known) + _mean_difference(
            halved, self.reference, self.inside
        )


class _Halves:
    """A generator, cut in front of its first residual block."""

    def __init__(self, generator: nn.Module) -> None:
        model = getattr(generator, "model", None)
        layers = list(model) if isinstance(model, nn.Sequential) else []
        cut = next((i for i, layer in enumerate(layers) if isinstance(layer, _BLOCKS)), None)
        if cut is None:
            raise ValueError(
                f"refine: needs the trained generator itself, one of lama.models, got {type(generator).__name__}"
            )
        self.has_branches = isinstance(layers[cut], FFCResnetBlock)
        self.first, self.down = layers[0], nn.Sequential(*layers[1:cut])
        self.pieces = _pieces(layers[cut:])
        self.pad_multiple, self.min_size = int(generator.pad_multiple), int(generator.min_size)  # type: ignore[arg-type]

    def front(self, x: Tensor) -> Features:
        """(B, 4, H, W) -> features at 1/8 of the resolution."""
        x = self.first(x)
        return self.down((x, None)) if self.has_branches else (self.down(x),)

    def rear(self, features: Features) -> Tensor:
        """Features -> predicted (B, 3, H, W)."""
        x: Any = features if self.has_branches else features[0]
        for piece in self.pieces:
            x = (
                checkpoint(piece, x, use_reentrant=False, preserve_rng_state=False)
                if torch.is_grad_enabled()
                else piece(x)
            )
        return x

    def pad(self, x: Tensor, modulo: int) -> Tensor:
        """At the bottom and right, until the network can compute it and both sides divide by ``modulo``."""
        multiple = math.lcm(modulo, self.pad_multiple)
        height, width = (-(-max(side, self.min_size) // multiple) * multiple for side in x.shape[-2:])
        return _reflect(x, 0, height - x.shape[-2], 0, width - x.shape[-1])


def _pieces(layers: list[nn.Module]) -> list[nn.Sequential]:
    """Each residual block, then the decoder from one ReLU to the next: what is recomputed at a time."""
    groups: list[list[nn.Module]] = [[]]
    for layer in layers:
        groups[-1].append(layer)
        if isinstance(layer, (*_BLOCKS, nn.ReLU)):
            groups.append([])
    return [nn.Sequential(*group) for group in groups if group]


@contextmanager
def _frozen(generator: nn.Module) -> Iterator[None]:
    """In eval mode and without gradients of parameters, and afterwards as it was."""
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
    """The image and its binary mask with at most ``px_budget`` pixels, as the official code reduces them (bilinear).

    Its refined result stays at that size; ours does not, see ``Refiner``.
    """
    height, width = image.shape[-2:]
    if height * width > px_budget:
        ratio = math.sqrt(px_budget / (height * width))
        size = max(1, int(height * ratio)), max(1, int(width * ratio))
        image, mask = (F.interpolate(x, size, mode="bilinear") for x in (image, mask))
    return image.clone(), (mask >= _EPS).to(image)  # a clone: what inference mode has made cannot be differentiated


def _half(x: Tensor) -> Tensor:
    """Bilinear, to half of either side, rounded down."""
    return F.interpolate(x, (x.shape[-2] // 2, x.shape[-1] // 2), mode="bilinear")


def _blur(x: Tensor) -> Tensor:
    """Gaussian, 5 x 5, sigma 1, reflected borders."""
    weights = torch.exp(-0.5 * torch.arange(-2.0, 3.0, device=x.device) ** 2)
    weights = (weights / weights.sum()).to(x.dtype)
    channels = x.shape[1]
    x = _reflect(x, 2, 2, 2, 2)
    x = F.conv2d(x, weights.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)
    return F.conv2d(x, weights.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)


def _erode(hole: Tensor) -> Tensor:
    """bool (1, 1, H, W): where OpenCV's ellipse of 15 x 15 lies within the hole; outside the image all is hole."""
    rows = [round(math.sqrt(49 - (i - 7) ** 2)) for i in range(15)]
    ellipse = torch.tensor([[abs(j - 7) <= half for j in range(15)] for half in rows], device=hole.device)
    return F.conv2d((~hole).float(), ellipse.float()[None, None], padding=7) < 0.5


def _reflect(x: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Reflection without repeating the edge, as often as it takes: ``F.pad`` refuses more than the size less one."""
    for dim, before, after in ((-2, top, bottom), (-1, left, right)):
        if before or after:
            size = x.shape[dim]
            index = torch.arange(-before, size + after, device=x.device).abs() % max(1, 2 * size - 2)
            x = x.index_select(dim, torch.where(index < size, index, 2 * size - 2 - index))
    return x


def _mean_difference(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """Mean of |a - b| over the pixels of the mask ``where`` (1, 1, H, W); 0 where there are none."""
    return ((a - b).abs() * where).sum() / (a.shape[1] * where.sum()).clamp(min=1)

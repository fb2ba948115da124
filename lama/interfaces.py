"""The protocols of the framework: generator, loss term, mask sampler, image source, metric.

A new part is one file that satisfies one of these protocols, one line in the ``__all__`` of its package, and one YAML.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

ImageArray = NDArray[np.uint8]  # (H, W, 3), RGB, 0..255
MaskArray = NDArray[np.bool_]  # (H, W), True = hole
STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")  # ask a training to stop; data workers ignore them


class Generator(Protocol):
    """``nn.Module``: (B, 4, H, W), the masked image and the mask -> (B, 3, H, W) in [0, 1]."""

    pad_multiple: int  # sizes that divide by it need no padding inside the network
    min_size: int  # the smallest H and W it can compute
    config: dict[str, Any]  # the constructor's arguments, stored beside the weights

    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass
class StepContext:
    """The inputs of a loss term in one optimiser step; fields that the step does not compute are empty."""

    image: Tensor  # (B, 3, H, W) truth, [0, 1]; requires grad in the discriminator's step, for R1
    mask: Tensor  # (B, 1, H, W), 1 = hole
    predicted: Tensor  # (B, 3, H, W) raw output; detached in the discriminator's step
    real_logits: Tensor  # (B, 1, h, w) discriminator on ``image``
    fake_logits: Tensor  # (B, 1, h, w) discriminator on ``predicted``
    real_features: list[Tensor] = field(default_factory=list)  # discriminator activations, shallow to deep
    fake_features: list[Tensor] = field(default_factory=list)


class LossTerm(Protocol):
    """``nn.Module``: one weighted summand of the generator's objective."""

    def __call__(self, context: StepContext) -> Tensor: ...


@runtime_checkable
class DiscriminatorLoss(Protocol):
    """A loss term that also trains the discriminator."""

    def discriminator_loss(self, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]: ...


class MaskSampler(Protocol):
    """Draws one mask; the same ``rng`` state gives the same mask.

    With one method more it is a ``ScheduledMaskSampler``, a ``PairedMaskSampler`` or a ``ScalableMaskSampler`` as well.
    """

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray: ...


@runtime_checkable
class ScheduledMaskSampler(MaskSampler, Protocol):
    """Masks that change while training goes on, such as ``lama.masks.Growing``."""

    def at(self, position: int) -> MaskSampler:
        """The sampler for sample number ``position`` of the training, counted from 0 over all processes."""
        ...


@runtime_checkable
class PairedMaskSampler(MaskSampler, Protocol):
    """Masks that belong to images, such as ``lama.masks.PairedMasks``; ``of`` is called in place of the sampler."""

    def of(self, rng: np.random.Generator, name: str) -> MaskArray:
        """A mask of the image that its source calls ``name``, at the size of that image.

        Raises ValueError if there is none.
        """
        ...


@runtime_checkable
class ScalableMaskSampler(MaskSampler, Protocol):
    """Masks with sizes and numbers that ``lama.masks.Growing`` can scale."""

    def scaled(self, share: float) -> MaskSampler:
        """The same sampler with ``share`` (0..1) of the range of its sizes and numbers."""
        ...


class Augmentation(Protocol):
    """Crops and distorts a training image, and its mask if given; the same ``rng`` state gives the same crop."""

    size: tuple[int, int]  # (height, width) of the result in pixels

    def __call__(
        self, image: ImageArray, rng: np.random.Generator, mask: MaskArray | None = None
    ) -> tuple[ImageArray, MaskArray | None]: ...


class ImageSource(Protocol):
    """A sequence of (name, image); names are unique, have no suffix, and are used for outputs.

    With one property more it is a ``NamedSource`` or a ``FileSource`` as well: then the cache knows names without
    decoding, messages name files, and the check at the start of a training looks at these files.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[str, ImageArray]: ...


@runtime_checkable
class NamedSource(ImageSource, Protocol):
    """A source that knows the names of its images without decoding them."""

    @property
    def names(self) -> Sequence[str]:
        """The names in order; empty if they are not known."""
        ...


@runtime_checkable
class FileSource(ImageSource, Protocol):
    """A source with a file for each image."""

    @property
    def paths(self) -> Sequence[Path]:
        """The files in order; empty if there are none."""
        ...


@dataclass(frozen=True)
class EvaluationPair:
    """One image and its frozen mask."""

    name: str  # of the mask, without suffix, such as ``coffee_mask000``; the result has it too
    image: ImageArray
    mask: MaskArray


EvaluationSet = Sequence[EvaluationPair]


class Metric(Protocol):
    """A number for each image of an evaluation set."""

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] twice and the mask (B, 1, H, W), 1 = hole -> (B,); nan where there is no score."""
        ...

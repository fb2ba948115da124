"""The protocols of the framework: generator, loss term, mask sampler, image source, metric, exporter.

A new part is one file that satisfies one of these protocols, and its registration (docs/contributing.md lists where).
"""

from __future__ import annotations  # torch is named here, and not imported: a prediction may need none

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

ImageArray = NDArray[np.uint8]  # (H, W, 3), RGB, 0..255
MaskArray = NDArray[np.bool_]  # (H, W), True = hole
Augmented = tuple[ImageArray, MaskArray | None]
STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")  # ask a training to stop; data workers ignore them


class Generator(Protocol):
    """``nn.Module``: (B, 4, H, W), the masked image and the mask -> (B, 3, H, W) in [0, 1]."""

    pad_multiple: int  # sizes that divide by it need no padding inside the network
    min_size: int  # the smallest H and W it can compute
    config: dict[str, Any]  # the constructor's arguments, stored with the weights

    def __call__(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class StagedGenerator(Protocol):
    """A generator that shows its parts. Optional: refinement and ``recipe.recompute_blocks`` need it."""

    def stages(self) -> tuple[nn.Module, Sequence[nn.Module], nn.Module]:
        """(encoder, residual blocks, decoder): applied in turn they are ``forward``, before it crops to H x W.

        The encoder's output is one tensor or a tuple of tensors; every block maps it to the same shapes. The modules
        are the generator's own, not copies.
        """


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

    def discriminator_loss(self, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the discriminator, a scalar, and scalars for the log by name."""


class MaskSampler(Protocol):
    """Draws one mask; the same ``rng`` state gives the same mask.

    With one method more it is a ``ScheduledMaskSampler``, a ``PairedMaskSampler`` or a ``ScalableMaskSampler`` as well.
    """

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> MaskArray: ...


@runtime_checkable
class ScheduledMaskSampler(MaskSampler, Protocol):
    """Masks that change during training, such as ``lama.masks.Growing``."""

    def at(self, position: int) -> MaskSampler:
        """The sampler for sample number ``position`` of the training, counted from 0 over all processes."""


@runtime_checkable
class PairedMaskSampler(MaskSampler, Protocol):
    """Masks that belong to images, such as ``lama.masks.PairedMasks``; ``of`` is called in place of the sampler."""

    def of(self, rng: np.random.Generator, name: str) -> MaskArray:
        """A mask of the image called ``name``, at the size of that image. Raises ValueError if there is none."""


@runtime_checkable
class ScalableMaskSampler(MaskSampler, Protocol):
    """Masks with sizes and numbers that ``lama.masks.Growing`` can scale."""

    def scaled(self, share: float) -> MaskSampler:
        """The same sampler with ``share`` (0..1) of the range of its sizes and numbers."""


@runtime_checkable
class FileMaskSampler(Protocol):
    """Masks from files, which may be inverted or faint."""

    def notices(self) -> list[str]:
        """Warnings about the files, for the start of a training."""
        ...


class Augmentation(Protocol):
    """Crops and distorts a training image, and its mask if given; the same ``rng`` state gives the same crop."""

    size: tuple[int, int]  # (height, width) of the result in pixels

    def __call__(self, image: ImageArray, rng: np.random.Generator, mask: MaskArray | None = None) -> Augmented: ...


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


@runtime_checkable
class FileSource(ImageSource, Protocol):
    """A source with a file for each image."""

    @property
    def paths(self) -> Sequence[Path]:
        """The files in order; empty if there are none."""


@dataclass(frozen=True)
class EvaluationPair:
    """An image and one of its masks."""

    name: str  # of the mask, without suffix, such as ``coffee_mask000``; the result has it too
    image: ImageArray
    mask: MaskArray
    clean_plate: ImageArray | None = None  # the same scene without the object, where a set has it

    @property
    def truth(self) -> ImageArray:
        """The image that a result is compared with."""
        return self.image if self.clean_plate is None else self.clean_plate


EvaluationSet = Sequence[EvaluationPair]


UNRANKED = 100


class Metric(Protocol):
    """The properties of every metric. Nothing about a metric is inferred from its name.

    A metric is a class that inherits from ``ImageMetric``, ``SetMetric`` or ``DerivedMetric``, states the first three
    attributes, and has a name in ``lama.evaluation.metrics.METRICS``. Names order metrics of equal rank.
    """

    label: ClassVar[str]  # in print, such as "LPIPS (alex)"
    higher_is_better: ClassVar[bool]
    bounds: ClassVar[tuple[float, float]]  # the lowest and the highest possible value, -inf and inf where there is none
    weight_files: ClassVar[tuple[str, ...]] = ()  # keys of ``lama.pretrained.WEIGHT_FILES``
    unit: ClassVar[str] = ""  # a change between two methods is printed in this unit; "" = in per cent
    in_report: ClassVar[bool] = False  # True: a column of the table in the report of a training
    monitor_rank: ClassVar[int] = UNRANKED  # ``monitor=auto`` takes the measured metric of the lowest rank
    example_rank: ClassVar[int] = UNRANKED  # "worst" and "best" images are those by the metric of the lowest rank

    @staticmethod
    def text(value: float) -> str:
        """A value in a printed table: four significant digits."""
        return f"{value:#.4g}".rstrip(".")


class ImageMetric(Metric, Protocol):
    """A number for each image. The constructor takes the path of each of ``weight_files``, in their order."""

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] twice and the mask (B, 1, H, W), 1 = hole -> (B,); nan where there is no score."""


class FamilyMetric(ImageMetric, Protocol):
    """One of several numbers for each image that come out of one computation, such as LPIPS by region.

    The metrics of a family have the same ``weight_files``; ``scores`` is called once for all of them.
    """

    family: ClassVar[str]  # the same text for all of them
    column: ClassVar[int]  # of this metric in ``scores``

    def scores(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Arguments as of ``score`` -> (B, K): the numbers of all metrics of the family."""

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return self.scores(completed, target, mask)[:, self.column]


@dataclass
class SetFeatures:
    """The features of all images of a set, by one network."""

    fake: NDArray[np.float32]  # (N, D), of the completed images
    real: NDArray[np.float32]  # (N, D), of the true images in the same order
    covariance: str = "N-1"  # "N-1" or "N": the divisor of a covariance under the protocol of this evaluation
    shared: dict[str, Any] = field(default_factory=dict)  # results that several metrics need, by a name of their choice


class SetMetric(Metric, Protocol):
    """One number for a whole set, from the features of a network. The constructor takes no arguments."""

    weight_files: ClassVar[tuple[str, ...]] = ("fid_inception",)  # one file: the network's
    network: ClassVar[str] = "inception"  # a name of ``lama.evaluation.features.NETWORKS``

    def measure(self, features: SetFeatures, interval: bool) -> dict[str, Any]:
        """{"mean", "n", "std"?, "ci95"?}; "ci95" where ``interval`` asks for a 95 % interval."""


class DerivedMetric(Metric, Protocol):
    """One number from the means of other metrics. The constructor takes no arguments."""

    parts: ClassVar[tuple[str, ...]]  # names of these metrics

    def combine(self, *means: float) -> float:
        """The value, from the means of ``parts`` in their order."""


class Exporter(Protocol):
    """A module of ``lama/export`` for one file format, an entry of ``lama.export.model.FORMATS``."""

    SUFFIX: str  # of the file; one that ``lama.load`` does not read is listed in ``lama.checkpoints.load.EXPORTED``
    PACKAGES: tuple[str, ...]  # beside torch, of the extra ``export``; they are looked for before anything is loaded
    FFT: str  # the meaning of ``fft=auto``, native or matmul: the form that runtimes of the format compute
    SNIPPET: str  # Python that runs the file, with the fields {file!r}, {inputs}, {feed} (names to values), {output}

    def dump(
        self, network: nn.Module, example: tuple[Tensor, ...], metadata: Mapping[str, str], names: Sequence[str]
    ) -> bytes:
        """The content of the file, from inputs to trace with; ``names``: of the inputs, then of the output."""

    def read(self, path: Path) -> Callable[..., Tensor]:
        """The runnable file: tensors in the order of the contract -> the output, (B, 3, H, W) float32."""


OnnxSession = tuple[Callable[[], tuple[NDArray[np.float32], float]], Callable[[], None]]


class OnnxRuntime(Protocol):
    """A runtime that ``lama bench runtimes`` measures, an entry of ``lama.bench.runtimes.RUNTIMES``."""

    @property
    def name(self) -> str:
        """In print."""

    @property
    def clock(self) -> str:
        """The seconds that it reports: "cpu", of the processor, or "wall"."""

    def missing(self, node: Path) -> str:
        """The command that installs it; empty if it is there. ``node``: the folder with ``node_modules``."""

    def version(self, node: Path) -> str:
        """Of an installed runtime."""

    def open(self, file: Path, feed: dict[str, Any], node: Path) -> OnnxSession:
        """(a function that gives output and seconds of one run on ``feed``, a function that ends the session).

        ``feed`` has image (1, 3, H, W) and mask (1, 1, H, W), the output is (1, 3, H, W). Raises any error.
        """

"""The 3 x 3 convolutions of the bottleneck by Winograd's F(4x4, 3x3), in C++ (``winograd.cpp``): twice as fast."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from lama.fast.winograd_kernel import Convolution, Kernel
from lama.models.folding import Folded

MOST_PIXELS_TO_KEEP = 160 * 160  # of the bottleneck: up to 1280 x 1280 of an image


class PointWeights:
    """Transformed weights, 4 times as large as the plain ones: kept, unless all that is asked for is large images."""

    def __init__(self, convs: Sequence[Folded], transform: Callable[[Tensor], Tensor]) -> None:
        self.plain, self.transform = [conv.weight.float() for conv in convs], transform
        self.kept: list[Tensor] | None = None

    def __call__(self, pixels: int) -> list[Tensor]:
        """For a bottleneck of so many pixels."""
        if self.kept is not None:
            return self.kept
        weights = [self.transform(weight) for weight in self.plain]
        if pixels <= MOST_PIXELS_TO_KEEP:
            self.kept = weights
        return weights


class WinogradConv(nn.Module):
    """Convolutions of one input: each output = ReLU(conv + before) + after, borders reflected, float32.

    ``convs`` are 3 x 3; each reads as many of the first input channels as it has weights for.
    """

    def __init__(self, kernel: Kernel, convs: Sequence[Folded], relu: bool) -> None:
        super().__init__()
        self.kernel, self.relu = kernel, relu
        self.channels = [conv.weight.shape[0] for conv in convs]
        self.weights = PointWeights(convs, kernel.points)
        self.biases = [None if conv.bias is None else conv.bias.float() for conv in convs]

    def forward(
        self,
        parts: Sequence[Tensor],  # the input in one or two pieces, (B, C_i, H, W)
        before: Sequence[Tensor | None] | None = None,  # for each output; overwritten, where it is not None
        after: Sequence[Tensor | None] | None = None,  # for each output; overwritten with the result, where not None
    ) -> list[Tensor]:
        """One (B, C, H, W) for each convolution, channels-last."""
        batch, _, height, width = parts[0].shape
        weights = self.weights(batch * height * width)
        none: list[Tensor | None] = [None] * len(self.channels)
        each = zip(weights, self.channels, self.biases, before or none, after or none, strict=True)
        return self.kernel.convolve(parts, [Convolution(*one) for one in each], relu=self.relu)

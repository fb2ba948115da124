"""The 3 x 3 convolutions of the blocks by Winograd's F(4x4, 3x3) in C++ (``winograd.cpp``): 1.5 to 2 times as fast."""

from collections.abc import Sequence

from torch import Tensor, nn

from lama.fast.winograd_kernel import Convolution, Kernel
from lama.models.folding import Folded

MOST_PIXELS_TO_KEEP = 160 * 160  # of the features: an image of up to 1280 x 1280


class WinogradConv(nn.Module):
    """Convolutions of one input: each output = ReLU(conv + before) + after, borders reflected, float32.

    ``convs`` are 3 x 3; each reads as many of the first input channels as it has weights for. The transformed weights
    are 4 times as large as the plain ones. They are kept from the first image that is not large.
    """

    def __init__(self, kernel: Kernel, convs: Sequence[Folded], relu: bool) -> None:
        super().__init__()
        self.kernel, self.relu = kernel, relu
        self.weights = [conv.weight.float() for conv in convs]
        self.biases = [None if conv.bias is None else conv.bias.float() for conv in convs]
        self.kept: list[Tensor] | None = None

    def forward(
        self,
        parts: Sequence[Tensor],  # the input in one or two pieces, (B, C_i, H, W)
        before: Sequence[Tensor | None] | None = None,  # one for each output; overwritten if not None
        after: Sequence[Tensor | None] | None = None,  # one for each output; overwritten with the result if not None
    ) -> list[Tensor]:
        """One (B, C, H, W) for each convolution, channels-last."""
        batch, _, height, width = parts[0].shape
        none: list[Tensor | None] = [None] * len(self.weights)
        channels = [len(weight) for weight in self.weights]
        transformed = self._transformed(batch * height * width)
        each = zip(transformed, channels, self.biases, before or none, after or none, strict=True)
        return self.kernel.convolve(parts, [Convolution(*one) for one in each], relu=self.relu)

    def _transformed(self, pixels: int) -> list[Tensor]:
        """The transformed weights, for an input of so many pixels."""
        if self.kept is not None:
            return self.kept
        transformed = [self.kernel.transform(weight) for weight in self.weights]
        if pixels <= MOST_PIXELS_TO_KEEP:
            self.kept = transformed
        return transformed

"""The fast equivalent of a trained generator: the same function for inference, written out once more.

BatchNorm is multiplied into the convolutions, the local convolutions of an FFC are merged, tensors are channels-last,
ReLU and sums happen inside the convolutions; and the frame can be computed in stripes where memory is scarce.
"""

import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from lama.fast import winograd_kernel
from lama.fast.folding import fold_branches
from lama.fast.fused_ffc import FusedFFCResnetBlock
from lama.fast.fused_layers import Conv, TransposedConv, channels_last
from lama.fast.fused_resnet import FusedResNetBlock
from lama.fast.striped import STRIPE_PIXELS, Decoder, Encoder, Head, PaddedConv, stripes
from lama.fast.winograd_kernel import Kernel
from lama.models.dilated import MultidilatedBlock
from lama.models.ffc import ConcatBranches, FFCBlock, FFCResnetBlock
from lama.models.folding import fold
from lama.models.resnet import ResNetBlock

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def fuse(generator: nn.Module, precision: str = "fp32", compiled: bool = True) -> "FusedGenerator":
    """An inference-only module with the contract of ``generator``, one of ``lama.models.GENERATORS`` in eval mode.

    It computes on the device ``generator`` is on, and stays there; ``generator`` is left as it is and shares nothing
    with it. ``precision`` is that of the convolutions: ``fp32`` is equal to the trained module to 5e-5; with ``bf16``
    the residual trunk and the Fourier transforms still are float32. ``compiled``: use kernels in C++ where this
    machine can build them (CPU only); the numbers are the same to 5e-5 without.

    Raises ValueError for another network, one in training mode, or an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision}: expected one of {' '.join(PRECISIONS)}")
    layers = getattr(generator, "model", None)
    if not isinstance(layers, nn.Sequential) or not hasattr(generator, "pad_multiple"):
        raise ValueError(f"fuse: expected a generator of lama.models, got {type(generator).__name__}")
    if generator.training:
        raise ValueError("fuse: expected a generator in eval mode; call .eval() first")
    with torch.no_grad():
        kernel = winograd_kernel.kernel() if compiled and next(generator.parameters()).device.type == "cpu" else None
        return FusedGenerator(generator, layers, PRECISIONS[precision], kernel)


class FusedGenerator(nn.Module):
    """Masked image and mask (B, 4, H, W) -> image (B, 3, H, W) in [0, 1], float32; made by ``fuse``.

    H and W are as for the trained generator. No gradients.
    """

    def __init__(self, generator: Any, layers: nn.Sequential, dtype: torch.dtype, kernel: Kernel | None) -> None:
        super().__init__()
        self.pad_multiple: int = generator.pad_multiple
        self.min_size: int = generator.min_size
        self.config: dict[str, Any] = dict(generator.config)
        self.device = next(generator.parameters()).device
        encoder, blocks, decoder = _parts(layers)
        self.encoder, self.decoder = _encoder(encoder, dtype), _decoder(decoder, dtype)
        self.blocks = nn.ModuleList(_block(block, dtype, kernel) for block in blocks)
        last = encoder[-1]  # an FFC opens the global branch
        self.local = last.ffc.out_local if isinstance(last, FFCBlock) else None
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self._run(x, rows=x.shape[2])

    @torch.no_grad()
    def forward_striped(self, x: Tensor) -> Tensor:
        """The same at low memory: encoder and decoder a few rows at a time, the bottleneck whole."""
        scale = 2 ** len(self.decoder.ups)
        return self._run(x, rows=max(1, STRIPE_PIXELS // (x.shape[0] * x.shape[3] * scale)))

    def _run(self, x: Tensor, rows: int) -> Tensor:
        """``rows`` of the bottleneck at a time in the encoder and the decoder."""
        if x.ndim != 4 or x.shape[1] != self.config["input_nc"] or x.device != self.device:
            raise ValueError(
                f"generator: expected (B, {self.config['input_nc']}, H, W) on {self.device}, "
                f"got {tuple(x.shape)} on {x.device}"
            )
        bottleneck = self.encode(x, rows)
        for block in self.blocks:
            bottleneck = block(bottleneck)
        return self.decode(bottleneck, rows, *x.shape[2:])

    def encode(self, x: Tensor, rows: int) -> Any:
        """The features of the bottleneck in float32; of an FFC network in two branches."""
        height, width = self.encoder.sizes(x.shape[2])[-1], self.encoder.sizes(x.shape[3])[-1]
        parts: list[Tensor] = []
        for first, last in stripes(height, rows):
            stripe = self.encoder(x, first, last)
            shares = [stripe.shape[1]] if self.local is None else [self.local, stripe.shape[1] - self.local]
            if not parts:
                parts = [_empty(x.shape[0], share, height, width, x.device) for share in shares]
            for part, share in zip(parts, stripe.split(shares, dim=1), strict=True):
                part[:, :, first:last] = share
        return parts[0] if self.local is None else tuple(part if part.shape[1] else None for part in parts)

    def decode(self, bottleneck: Any, rows: int, height: int, width: int) -> Tensor:
        """(B, output_nc, height, width) of the features that ``encode`` gave."""
        branches = [bottleneck] if isinstance(bottleneck, Tensor) else [b for b in bottleneck if b is not None]
        batch, _, total, _ = branches[0].shape
        out = branches[0].new_empty(batch, self.config["output_nc"], height, width)
        scale = 2 ** len(self.decoder.ups)
        for first, last in stripes(height, rows * scale):
            start, stop = self.decoder.rows(first, last, total)
            x = channels_last(torch.cat([branch[:, :, start:stop] for branch in branches], dim=1))
            out[:, :, first:last] = self.decoder(x, first, last, total)[..., :width]
        return out


def _empty(batch: int, channels: int, height: int, width: int, device: torch.device) -> Tensor:
    return torch.empty((batch, channels, height, width), device=device, memory_format=torch.channels_last)


def _parts(layers: nn.Sequential) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
    """Encoder, blocks and decoder of a generator, the paddings and ConcatBranches left out."""
    order = list(layers)
    kinds = (FFCResnetBlock, ResNetBlock, MultidilatedBlock)
    blocks = [i for i, layer in enumerate(order) if isinstance(layer, kinds)]
    first, last = blocks[0], blocks[-1] + 1
    skipped = (nn.ReflectionPad2d, ConcatBranches, nn.ReLU, nn.Sigmoid)
    return (
        [layer for layer in order[:first] if not isinstance(layer, skipped)],
        order[first:last],
        [layer for layer in order[last:] if not isinstance(layer, skipped)],
    )


def _encoder(layers: Sequence[nn.Module], dtype: torch.dtype) -> Encoder:
    """From FFC blocks, or from convolutions and their BatchNorm in turns."""
    convs = []
    for i, layer in enumerate(layers):
        if isinstance(layer, FFCBlock):
            conv = layer.ffc.convl2l or layer.ffc.convl2g
            assert conv is not None
            folded, mode = fold_branches(layer), "reflect"
        elif isinstance(layer, nn.Conv2d):
            conv, folded = layer, fold(layer, cast(nn.BatchNorm2d, layers[i + 1]))
            mode = "reflect" if conv.stride[0] == 1 else "constant"  # the strided ones of LaMa-Regular pad with zeros
        else:
            continue
        convs.append(PaddedConv(Conv(folded, dtype, stride=conv.stride[0], relu=True), mode))
    return Encoder(convs)


def _decoder(layers: Sequence[nn.Module], dtype: torch.dtype) -> Decoder:
    """From transposed convolutions and their BatchNorm in turns, and the last convolution."""
    ups = [
        TransposedConv(fold(layer, cast(nn.BatchNorm2d, norm)), dtype)
        for layer, norm in itertools.pairwise(layers)
        if isinstance(layer, nn.ConvTranspose2d)
    ]
    return Decoder(ups, Head(fold(cast(nn.Conv2d, layers[-1])), dtype))


def _block(block: nn.Module, dtype: torch.dtype, kernel: Kernel | None) -> nn.Module:
    if isinstance(block, FFCResnetBlock):
        return FusedFFCResnetBlock(block, dtype, kernel)
    return FusedResNetBlock(cast(nn.Sequential, block.conv_block), dtype, kernel)

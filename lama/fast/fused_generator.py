"""A fused network: the encoder, blocks and decoder of a trained one, with every layer replaced by a faster equal."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from lama.fast.chunked import Decoder, Encoder, Head, PaddedConv, ResizedConv, chunks
from lama.fast.fused_layers import TransposedConv, channels_last
from lama.models.folding import fold

CHUNK_PIXELS = 1 << 17  # image pixels in a chunk: with 64 channels in float32, 32 MB for each copy


class FusedGenerator(nn.Module):
    """Masked image and mask (B, 4, H, W) -> image (B, 3, H, W) in [0, 1], float32, without gradients; see ``fuse``."""

    def __init__(
        self,
        generator: Any,  # the trained network
        encoder: Sequence[PaddedConv],
        blocks: Sequence[nn.Module],
        decoder: Iterable[nn.Module],  # of the trained network
        dtype: torch.dtype,
        local: int | None = None,  # channels of the local branch, if the blocks take two branches
    ) -> None:
        super().__init__()
        self.pad_multiple: int = generator.pad_multiple
        self.min_size: int = generator.min_size
        self.config: dict[str, Any] = dict(generator.config)
        self.device = next(generator.parameters()).device
        self.encoder, self.blocks = Encoder(encoder), nn.ModuleList(blocks)
        self.decoder, self.local = fused_decoder(decoder, dtype), local
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self._run(x, rows=x.shape[2])

    @torch.no_grad()
    def forward_chunked(self, x: Tensor) -> Tensor:
        """The same in less memory: encoder and decoder compute a few rows at a time, the blocks the whole frame."""
        scale = 2 ** len(self.decoder.ups)
        return self._run(x, rows=max(1, CHUNK_PIXELS // (x.shape[0] * x.shape[3] * scale)))

    def _run(self, x: Tensor, rows: int) -> Tensor:
        """The encoder writes ``rows`` rows of the features at a time, and the decoder reads as many."""
        if x.ndim != 4 or x.shape[1] != self.config["input_nc"] or x.device != self.device:
            expected = f"expected (B, {self.config['input_nc']}, H, W) on {self.device}"
            raise ValueError(f"generator: {expected}, got {tuple(x.shape)} on {x.device}")
        features = self.encode(x, rows)
        for block in self.blocks:
            features = block(features)
        return self.decode(features, rows, *x.shape[2:])

    def encode(self, x: Tensor, rows: int) -> Any:
        """The features that the first block reads, in float32: one tensor, or the two branches of an FFC."""
        height, width = self.encoder.sizes(x.shape[2])[-1], self.encoder.sizes(x.shape[3])[-1]
        parts: list[Tensor] = []
        for first, last in chunks(height, rows):
            chunk = self.encoder(x, first, last)
            shares = [chunk.shape[1]] if self.local is None else [self.local, chunk.shape[1] - self.local]
            if not parts:
                sizes = [(x.shape[0], share, height, width) for share in shares]
                parts = [torch.empty(size, device=x.device, memory_format=torch.channels_last) for size in sizes]
            for part, share in zip(parts, chunk.split(shares, dim=1), strict=True):
                part[:, :, first:last] = share
        return parts[0] if self.local is None else tuple(part if part.shape[1] else None for part in parts)

    def decode(self, features: Any, rows: int, height: int, width: int) -> Tensor:
        """(B, output_nc, height, width) of the features that the last block gave."""
        branches = [features] if isinstance(features, Tensor) else [b for b in features if b is not None]
        batch, _, total, _ = branches[0].shape
        out = branches[0].new_empty(batch, self.config["output_nc"], height, width)
        for first, last in chunks(height, rows * 2 ** len(self.decoder.ups)):
            start, stop = self.decoder.rows(first, last, total)
            x = channels_last(torch.cat([branch[:, :, start:stop] for branch in branches], dim=1))
            out[:, :, first:last] = self.decoder(x, first, last, total)[..., :width]
        return out


def fused_decoder(layers: Iterable[nn.Module], dtype: torch.dtype) -> Decoder:
    """The decoder of ``models.layers.decoder``: upsampling convolutions with BatchNorm, and the last convolution."""
    layers = list(layers)
    ups: list[TransposedConv | ResizedConv] = []
    for conv, norm in itertools.pairwise(layers):
        if isinstance(norm, nn.BatchNorm2d):
            kind = TransposedConv if isinstance(conv, nn.ConvTranspose2d) else ResizedConv
            ups.append(kind(fold(cast(nn.Conv2d, conv), norm), dtype))
    last = [layer for layer in layers if isinstance(layer, nn.Conv2d)][-1]
    return Decoder(ups, Head(fold(last), dtype))

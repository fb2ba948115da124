"""An estimate of the memory that one prediction takes."""

from dataclasses import dataclass

from torch import nn

from lama.interfaces import Generator

# Peak bytes in addition to those held before, measured for LaMa-Fourier at full width, batch 1, on a CPU:
# pytest -m slow tests/test_strategies.py -k peak -s
_TOP = {"plain": 13.5, "fp32": 8.0, "bf16": 4.6}  # per channel and pixel of the first level, which has ngf channels
_BLOCKS = {"plain": 1.0, "fp32": 12.0, "bf16": 10.0}  # per channel and pixel at the resolution of the blocks
_IN_AND_OUT = 4 * (4 + 4 + 3 + 3)  # per pixel, float32: input and padded input, output and cropped output
_CHUNK = {"fp32": 2**20, "bf16": 2**20}  # per channel of the first level, in place of _TOP: one chunk of rows
_FIXED = 64 * 2**20  # work space of the libraries, for any size


@dataclass(frozen=True)
class Memory:
    """An estimate of the memory that computing ``height`` x ``width`` pixels takes, and its ``limit``; in bytes."""

    limit: int
    top: float  # per pixel, for encoder and decoder at once
    blocks: float  # per pixel, for the blocks between them
    chunk: float | None  # in all, in place of ``top``, if computed in chunks of rows; None if the network cannot

    def needs(self, height: int, width: int, chunked: bool = False, batch: int = 1) -> int:
        """Peak of one computation, without the network and the images."""
        pixels = batch * height * width
        if chunked and self.chunk is not None:
            return int(_FIXED + self.chunk + pixels * (_IN_AND_OUT + self.blocks))
        return int(_FIXED + pixels * (_IN_AND_OUT + self.blocks + self.top))

    def chunked(self, height: int, width: int) -> bool:
        """True if this size does not fit as a whole and takes less memory in chunks of rows."""
        whole = self.needs(height, width)
        return self.chunk is not None and whole > self.limit and self.needs(height, width, True) < whole

    def fits(self, height: int, width: int) -> bool:
        """True if this size can be computed under the limit, in chunks of rows if necessary."""
        return self.needs(height, width, self.chunked(height, width)) <= self.limit


def estimate(generator: Generator | nn.Module, kind: str, limit: int) -> Memory:
    """The memory of ``generator``; ``kind`` is "plain" (the trained module) or the precision of its fast equivalent.

    Only the widths of the network count, since a block keeps nothing for the next. A generator whose ``config`` lacks
    the widths counts as LaMa-Fourier.
    """
    stated = getattr(generator, "config", {})
    ngf, n = stated.get("ngf", 64), stated.get("n_downsampling", 3)
    channels = min(stated.get("max_features", 1024), ngf * 2**n)
    return Memory(
        limit=limit,
        top=_TOP[kind] * ngf,
        blocks=_BLOCKS[kind] * channels / 4**n,
        chunk=_CHUNK[kind] * ngf if kind in _CHUNK else None,
    )

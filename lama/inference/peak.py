"""An estimate of the memory that one prediction takes."""

from dataclasses import dataclass

from torch import nn

from lama.interfaces import Generator

# Peak bytes above what the process holds before, measured for LaMa-Fourier at full width, batch 1, on a CPU:
# pytest -m slow tests/test_strategies.py -k peak -s
_TOP = {"plain": 13.5, "fp32": 8.0, "bf16": 4.0}  # per channel and pixel of the first level, which has ngf channels
_BLOCKS = {"plain": 1.0, "fp32": 12.0, "bf16": 10.0}  # per channel and pixel at the resolution of the blocks
_IN_AND_OUT = 4 * (4 + 4 + 3 + 3)  # per pixel: what goes in, padded, and what comes out, cropped, in float32
_STRIPES = {"fp32": 2**20, "bf16": 2**20}  # per channel of the first level: the rows in hand, in place of all
_FIXED = 64 * 2**20  # work space of the libraries, whatever the size


@dataclass(frozen=True)
class Memory:
    """An estimate of what computing ``height`` x ``width`` pixels takes, beside the ``limit`` it must stay under.

    All in bytes. ``stripes`` is None where a network cannot be computed row by row.
    """

    limit: int
    top: float  # per pixel, for encoder and decoder at once
    blocks: float  # per pixel, for the blocks between them
    stripes: float | None  # in all, in place of ``top``: encoder and decoder row by row

    def needs(self, height: int, width: int, striped: bool = False, batch: int = 1) -> int:
        """Peak of one computation, beside the network itself and the images."""
        pixels = batch * height * width
        if striped and self.stripes is not None:
            return int(_FIXED + self.stripes + pixels * (_IN_AND_OUT + self.blocks))
        return int(_FIXED + pixels * (_IN_AND_OUT + self.blocks + self.top))

    def striped(self, height: int, width: int) -> bool:
        """Whether this size is better computed row by row: it does not fit otherwise, and takes less so."""
        whole = self.needs(height, width)
        return self.stripes is not None and whole > self.limit and self.needs(height, width, True) < whole

    def fits(self, height: int, width: int) -> bool:
        """Whether this size can be computed under the limit, row by row if need be."""
        return self.needs(height, width, self.striped(height, width)) <= self.limit


def estimate(generator: Generator | nn.Module, kind: str, limit: int) -> Memory:
    """What ``generator`` takes; ``kind`` is "plain" (the trained module) or the precision of its fast equivalent.

    Only the widths of the network matter, not its depth: no block keeps anything for the next. A generator that does
    not state its widths counts as LaMa-Fourier.
    """
    stated = getattr(generator, "config", {})
    ngf, n = stated.get("ngf", 64), stated.get("n_downsampling", 3)
    channels = min(stated.get("max_features", 1024), ngf * 2**n)
    return Memory(
        limit=limit,
        top=_TOP[kind] * ngf,
        blocks=_BLOCKS[kind] * channels / 4**n,
        stripes=_STRIPES[kind] * ngf if kind in _STRIPES else None,
    )

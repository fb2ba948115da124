"""An estimate of the memory that one prediction takes."""

from torch import nn

from lama.interfaces import Generator
from lama.strategies.memory import Memory

# Peak bytes in addition to those held before, measured for LaMa-Fourier at full width, batch 1, on a CPU:
# pytest -m slow tests/test_strategies.py -k peak -s
_TOP = {"plain": 13.5, "fp32": 8.0, "bf16": 4.6}  # per channel and pixel of the first level, which has ngf channels
_BLOCKS = {"plain": 1.0, "fp32": 12.0, "bf16": 10.0}  # per channel and pixel at the resolution of the blocks
_CHUNK = {"fp32": 2**20, "bf16": 2**20}  # per channel of the first level, in place of _TOP: one chunk of rows


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

"""Comparison of an exported file, read again, with the network it was made from."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from lama.conventions import generator_input, padded_size

TOLERANCE = 1e-4  # the largest difference that is accepted, of values in [0, 1]
SMALL_TOLERANCE = 2e-2  # the same for float16, and for weights in 8 bits
Inputs = tuple[Tensor, ...]


def examples(generator: nn.Module, pre_post: bool) -> Iterator[Inputs]:
    """Inputs of three sizes and two batches: odd and very small sizes if ``pre_post``, else multiples."""
    multiple, least = int(generator.pad_multiple), int(generator.min_size)  # type: ignore[arg-type]
    side = padded_size(64, multiple, least)
    if pre_post:
        sizes = [(side + 33, side + 51), (side, side), (7, side - 19)]
    else:
        sizes = [(side, side + multiple), (side + 2 * multiple, side), (padded_size(1, multiple, least), side)]
    rng = torch.Generator().manual_seed(0)
    for (height, width), batch in itertools.product(sizes, (2, 1)):
        image = torch.rand(batch, 3, height, width, generator=rng)
        mask = (torch.rand(batch, 1, height, width, generator=rng) > 0.5).float()
        yield (image, mask) if pre_post else (generator_input(image, mask),)


def largest_difference(
    run: Callable[..., Tensor], expected: Callable[..., Tensor], inputs: Iterable[Inputs], small: bool = False
) -> float:
    """The largest difference of ``run`` from ``expected``. Raises ValueError if it is too large or ``run`` fails."""
    tolerance = SMALL_TOLERANCE if small else TOLERANCE
    worst = 0.0
    for tensors in inputs:
        size = " x ".join(map(str, tensors[0].shape))
        try:
            result = run(*tensors)
        except Exception as error:  # every runtime raises its own
            line = str(error).strip().partition("\n")[0]
            raise ValueError(f"the exported file cannot be run on {size}, nothing is kept: {line}") from error
        wanted = expected(*tensors)
        if result.shape != wanted.shape:
            raise ValueError(f"the exported file makes {tuple(result.shape)} of {size}, nothing is kept")
        difference = (result - wanted).abs().max().item()
        if not difference <= tolerance:
            much = f"{difference:.1e} on {size}, more than {tolerance:.0e}"
            raise ValueError(f"the exported file differs from the network by {much}: nothing is kept")
        worst = max(worst, difference)
    return worst

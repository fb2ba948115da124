"""A file that has been written, read again and compared with the network it came from."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from lama.conventions import composite, generator_input, pad_to_multiple

TOLERANCE = 1e-4  # the largest difference that counts as equal, of values in 0..1
Inputs = tuple[Tensor, ...]


def examples(generator: nn.Module, pre_post: bool) -> Iterator[Inputs]:
    """Inputs of three sizes and two batches: odd and very small ones where padding is inside, multiples elsewhere."""
    multiple, least = int(generator.pad_multiple), int(generator.min_size)  # type: ignore[arg-type]
    side = -(-max(64, least) // multiple) * multiple
    if pre_post:
        sizes = [(side + 33, side + 51), (side, side), (7, side - 19)]
    else:
        sizes = [(side, side + multiple), (side + 2 * multiple, side), (-(-least // multiple) * multiple, side)]
    rng = torch.Generator().manual_seed(0)
    for (height, width), batch in itertools.product(sizes, (2, 1)):
        image = torch.rand(batch, 3, height, width, generator=rng)
        mask = (torch.rand(batch, 1, height, width, generator=rng) > 0.5).float()
        yield (image, mask) if pre_post else (generator_input(image, mask),)


def completed(generator: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
    """What a file with everything inside shall give, said in the words of ``lama.conventions``."""
    height, width = image.shape[-2:]
    x = pad_to_multiple(generator_input(image, mask), int(generator.pad_multiple), int(generator.min_size))  # type: ignore[arg-type]
    return composite(generator(x)[..., :height, :width], image, mask)


def largest_difference(run: Callable[..., Tensor], expected: Callable[..., Tensor], inputs: Iterable[Inputs]) -> float:
    """Of ``run`` and ``expected``, over all ``inputs``. Raises ValueError where ``run`` fails or differs too much."""
    worst = 0.0
    for tensors in inputs:
        size = " x ".join(map(str, tensors[0].shape))
        try:
            result = run(*tensors)
        except Exception as error:  # every runtime has errors of its own
            line = str(error).strip().partition("\n")[0]
            raise ValueError(f"the exported file cannot be run on {size}, nothing is kept: {line}") from error
        wanted = expected(*tensors)
        if result.shape != wanted.shape:
            raise ValueError(f"the exported file makes {tuple(result.shape)} of {size}, nothing is kept")
        difference = (result - wanted).abs().max().item()
        if not difference <= TOLERANCE:
            raise ValueError(
                f"the exported file differs from the network by {difference:.1e} on {size}, more than {TOLERANCE:.0e}: "
                "nothing is kept"
            )
        worst = max(worst, difference)
    return worst

"""The contract that every layer shares: image, mask, and the arithmetic between them.

image : float tensor (B, 3, H, W), RGB, values in [0, 1]
mask  : float tensor (B, 1, H, W), values in [0, 1], **1 = hole** (missing), 0 = known
        (the paper writes m the other way round: its x * m is our ``masked``)
masked    = image * (1 - mask)                           the input of the network
predicted = generator(cat(masked, mask))                 raw output, whole frame
completed = mask * predicted + (1 - mask) * image        the result for a user
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def check_image_and_mask(image: Tensor, mask: Tensor) -> None:
    """Raise ValueError unless ``image`` is (B, 3, H, W) and ``mask`` is (B, 1, H, W) of the same B, H, W."""
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"image: expected shape (B, 3, H, W), got {tuple(image.shape)}")
    expected = (image.shape[0], 1, *image.shape[2:])
    if tuple(mask.shape) != expected:
        raise ValueError(f"mask: expected shape {expected} to go with the image, got {tuple(mask.shape)}")


def generator_input(image: Tensor, mask: Tensor) -> Tensor:
    """Concatenate the masked image and the mask: (B, 3, H, W) and (B, 1, H, W) -> (B, 4, H, W)."""
    check_image_and_mask(image, mask)
    return torch.cat([image * (1 - mask), mask], dim=1)


def at_least_float32(x: Tensor) -> Tensor:
    """float16, bfloat16 -> float32; float32 and float64 are unchanged. For losses, logits and spectra."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A block in which autocast changes nothing on the device of ``x``; the meta device has no autocast."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def composite(predicted: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Keep the known pixels of ``image`` and fill the hole with ``predicted``; all (B, C, H, W)."""
    return mask * predicted + (1 - mask) * image


def padded_size(size: int, multiple: int, at_least: int = 1) -> int:
    """The smallest multiple of ``multiple`` that is not below ``size`` and ``at_least``."""
    return -(-max(size, at_least) // multiple) * multiple


def pad_for(network: nn.Module, x: Tensor) -> Tensor:
    """``x`` (B, C, H, W) padded to a size that ``network``, by its ``pad_multiple`` and ``min_size``, can compute."""
    return pad_to_multiple(x, int(network.pad_multiple), int(network.min_size))  # type: ignore[arg-type]


def predict(network: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
    """Mask, pad, run the generator, crop: image (B, 3, H, W), mask (B, 1, H, W) -> predicted (B, 3, H, W), any size."""
    height, width = image.shape[-2:]
    return network(pad_for(network, generator_input(image, mask)))[..., :height, :width]


def complete(network: nn.Module, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """``predict`` and its composite: image (B, 3, H, W), mask (B, 1, H, W) -> (predicted, completed), any size."""
    predicted = predict(network, image, mask)
    return predicted, composite(predicted, image, mask)


def pad_to_multiple(x: Tensor, multiple: int, at_least: int = 1) -> Tensor:
    """Extend (B, C, H, W) at the bottom and right to ``padded_size``.

    The border is mirrored and the edge pixel repeated (NumPy's "symmetric"), as in the official prediction. Unlike
    ``torch.nn.functional.pad`` it works for any size, 1 x 1 included.
    """
    for dim in (2, 3):
        size = x.shape[dim]
        extra = padded_size(size, multiple, at_least) - size
        if extra:
            index = torch.arange(size + extra, device=x.device) % (2 * size)
            index = torch.where(index < size, index, 2 * size - 1 - index)
            x = x.index_select(dim, index)
    return x

"""The contract every layer shares: what an image is, what a mask is, and the arithmetic between them.

image : float tensor (B, 3, H, W), RGB, values in [0, 1]
mask  : float tensor (B, 1, H, W), values in [0, 1], **1 = hole** (missing), 0 = known
        (the paper writes m the other way round: its x * m is our ``masked``)
masked    = image * (1 - mask)                           what the network may see
predicted = generator(cat(masked, mask))                 raw output, whole frame
completed = mask * predicted + (1 - mask) * image        what a person gets
"""

import torch
from torch import Tensor


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
    """bfloat16 -> float32; float32 and float64 stay as they are. Losses, logits and spectra are never below float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def composite(predicted: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Keep the known pixels of ``image`` and fill the hole with ``predicted``; all (B, C, H, W)."""
    return mask * predicted + (1 - mask) * image


def pad_to_multiple(x: Tensor, multiple: int, at_least: int = 1) -> Tensor:
    """Extend (B, C, H, W) at the bottom and right until H and W divide by ``multiple`` and are ``at_least`` so large.

    The border is mirrored with the edge pixel repeated (NumPy calls it "symmetric"), as the official prediction
    does. Unlike ``torch.nn.functional.pad`` it works for any size, 1 x 1 included.
    """
    for dim in (2, 3):
        size = x.shape[dim]
        extra = -(-max(size, at_least) // multiple) * multiple - size
        if extra:
            index = torch.arange(size + extra, device=x.device) % (2 * size)
            index = torch.where(index < size, index, 2 * size - 1 - index)
            x = x.index_select(dim, index)
    return x

"""Inputs and output of an exported file, by name: stored as its metadata and printed by the export."""

from torch import nn


def contract(generator: nn.Module, pre_post: bool) -> dict[str, str]:
    """{name: shape, type and values in words} of each input, and of the output as the last.

    With ``pre_post``, masking, padding and compositing are inside of the file; else it holds the network alone.
    """
    if pre_post:
        return {
            "image": "(batch, 3, height, width) float32, RGB, 0..1, any height and width",
            "mask": "(batch, 1, height, width) float32, above 0 = hole",
            "completed": "(batch, 3, height, width) float32, RGB, 0..1: the image with its holes filled",
        }
    sizes = f"height and width are multiples of {generator.pad_multiple}, at least {generator.min_size}"
    return {
        "masked": f"(batch, 4, height, width) float32: image * (1 - mask), RGB, 0..1, and mask, 1 = hole; {sizes}",
        "predicted": "(batch, 3, height, width) float32, RGB, 0..1: the whole frame, as the network sees it",
    }

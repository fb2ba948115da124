"""An evaluation set in portions, each computed by itself: the numbers are equal in one process and in many."""

from pathlib import Path

from lama.data.evaluation_set import PairFolder


def portions(pairs: PairFolder, batch_size: int) -> list[list[int]]:
    """Indices of pairs of one size: up to ``batch_size``, or all masks of one image if it has more masks.

    All masks of an image are in one portion, so a network sees the image once. Sizes are read from the headers.
    """
    of_image: dict[Path, list[int]] = {}
    for i, (image, _) in enumerate(pairs.paths):
        of_image.setdefault(image, []).append(i)
    full: list[list[int]] = []
    open_ones: dict[tuple[int, int], list[int]] = {}
    for masks in of_image.values():
        size = pairs.sizes[masks[0]]
        begun = open_ones.pop(size, [])
        if len(begun) + len(masks) > batch_size and begun:
            full.append(begun)
            begun = []
        open_ones[size] = [*begun, *masks]
    return [*full, *open_ones.values()]

"""Batches of validation: images of one size together."""

from collections.abc import Iterable, Sequence

PIXELS = 8 * 256**2  # of a batch: eight crops of the paper's training size


def batches_of_one_size(sizes: Sequence[tuple[int, int]], share: Iterable[int]) -> list[list[int]]:
    """The indices ``share`` in batches of equal ``sizes``, each of one image or of at most ``PIXELS`` pixels."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index in share:
        groups.setdefault(sizes[index], []).append(index)
    batches = []
    for (width, height), members in groups.items():
        count = max(1, PIXELS // (width * height)) if width else 1  # a size of 0 is not known
        batches += [members[start : start + count] for start in range(0, len(members), count)]
    return batches

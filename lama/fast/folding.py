"""The convolutions of an FFC that can be merged once it is trained, BatchNorm multiplied in, in float64."""

import torch
from torch import Tensor

from lama.models.ffc import FFCBlock
from lama.models.folding import Folded, fold


def fold_branches(block: FFCBlock) -> Folded:
    """An FFC without global input: both of its output branches as one convolution, local channels first."""
    parts = []
    for conv, norm in ((block.ffc.convl2l, block.bn_l), (block.ffc.convl2g, block.bn_g)):
        if conv is not None:
            parts.append(fold(conv, norm))
    return Folded(torch.cat([part.weight for part in parts]), torch.cat([_bias(part) for part in parts]))


def fold_to_local(block: FFCBlock) -> Folded | None:
    """conv_ll(local) + conv_gl(global) as one convolution of cat(local, global); None without local channels."""
    parts = [fold(conv, block.bn_l) for conv in (block.ffc.convl2l, block.ffc.convg2l) if conv is not None]
    return Folded(torch.cat([part.weight for part in parts], 1), parts[0].bias) if parts else None


def _bias(folded: Folded) -> Tensor:
    return folded.weight.new_zeros(folded.weight.shape[0]) if folded.bias is None else folded.bias

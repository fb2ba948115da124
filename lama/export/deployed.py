"""The exported module: masking, padding, network, cropping and compositing.

Sizes are unknown when a graph is made. So nothing here branches on them, and arithmetic on them uses only operations
that TorchScript and ONNX share: maxima, positive quotients, remainders of tensors. ``lama.conventions.complete`` is the
same function without these limits.
"""

import torch
from torch import Tensor, nn


class Deployed(nn.Module):
    """Image (B, 3, H, W) RGB in [0, 1] and mask (B, 1, H, W) -> completed (B, 3, H, W); any H and W.

    Every mask value above 0 is a hole. Known pixels are unchanged. The steps are the same as in ``Inpainter``:
    masking, mirrored padding to the network's multiple, the network, cropping, compositing.
    """

    def __init__(self, generator: nn.Module, pad_multiple: int, min_size: int) -> None:
        super().__init__()
        self.generator = generator  # ``lama.load`` finds the weights by this name
        self.pad_multiple = pad_multiple
        self.least = -(-min_size // pad_multiple) * pad_multiple

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        height, width = image.shape[2], image.shape[3]
        hole = (mask > 0).to(image.dtype)
        x = torch.cat([image * (1 - hole), hole], dim=1)
        x = _mirror(_mirror(x, 2, self.pad_multiple, self.least), 3, self.pad_multiple, self.least)
        predicted = _first(_first(self.generator(x), 2, height), 3, width)
        return hole * predicted + (1 - hole) * image


def _first(x: Tensor, dim: int, count: int) -> Tensor:
    """``x[:count]`` along ``dim``; torch.export would specialise a slice to whether it cuts anything."""
    return x.index_select(dim, torch.arange(count, device=x.device))


def _mirror(x: Tensor, dim: int, multiple: int, least: int) -> Tensor:
    """``conventions.pad_to_multiple`` along one dimension."""
    size = x.shape[dim]
    target = max((size + multiple - 1) // multiple * multiple, least)
    period = torch.arange(2 * size, 2 * size + 1, device=x.device)  # as a tensor: see above
    index = torch.remainder(torch.arange(target, device=x.device), period)
    return x.index_select(dim, torch.where(index < size, index, period - 1 - index))

"""The mean squared error between features, in one pass over them."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class MeanSquare(torch.autograd.Function):
    """mean((x - target)^2) of (B, C, ...), at least in float32; its gradient is that of ``x``, 2 (x - target) / n.

    Features may be bfloat16: their difference is kept so, which is exact where it is small, and their sum is not.
    ``F.mse_loss`` under autocast makes float32 copies of both and of the gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        difference = x - target
        ctx.save_for_backward(difference)
        dtype = torch.promote_types(x.dtype, torch.float32)
        # in two stages: one long sum of millions of squares loses four digits
        return torch.linalg.vector_norm(difference, dim=1, dtype=dtype).square().mean() / difference.shape[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return difference * (2 / difference.numel() * gradient).to(difference.dtype), None

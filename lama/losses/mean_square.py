"""The mean squared error between features, with little memory."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class MeanSquare(torch.autograd.Function):
    """mean((x - target)^2) of (B, C, ...), at least in float32; the gradient with respect to x is 2 (x - target) / n.

    The difference of bfloat16 features stays bfloat16 (it is exact if it is small); the sum is float32. ``F.mse_loss``
    under autocast would make float32 copies of both features and of the gradient.
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

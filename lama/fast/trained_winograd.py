"""Winograd's F(4x4, 3x3) for training on a CPU: the same convolutions and gradients with a quarter of the products.

The forward pass, the gradient of the input and the gradient of the weights are one call of ``winograd.cpp`` each.
Results differ by 1e-6 of the largest value. On a GPU, in float64 and without a compiler, torch's convolutions are used.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lama.fast.winograd_kernel import Convolution, Kernel, kernel
from lama.models.ffc import FFC

FEWEST = 32  # channels; with fewer, torch's convolutions are faster


class FFCConvolutions(torch.autograd.Function):
    """``FFC.convolutions``, borders reflected, float32.

    local (B, L, H, W), global (B, G, H, W) and weights (L, L, 3, 3), (L, G, 3, 3), (G, L, 3, 3) ->
    conv_ll(local) + conv_gl(global) (B, L, H, W) and conv_lg(local) (B, G, H, W). H and W are at least 2.
    """

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, local: Tensor, glob: Tensor, ll: Tensor, gl: Tensor, lg: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.kernel = kernel
        ctx.save_for_backward(local, glob, ll, gl, lg)
        transformed = kernel.transform_temporarily([ll, gl], [lg])
        convolutions = [Convolution(u, len(w)) for u, w in zip(transformed, (ll, lg), strict=True)]
        return tuple(kernel.convolve([local, glob], convolutions))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_local: Tensor, to_glob: Tensor) -> tuple[Tensor | None, ...]:
        local, glob, ll, gl, lg = ctx.saved_tensors
        gradients, kernel = [to_local, to_glob], ctx.kernel
        transformed = kernel.transform_temporarily([ll, lg], [gl], backward=True)
        convolutions = [Convolution(u, x.shape[1]) for u, x in zip(transformed, (local, glob), strict=True)]
        padded = kernel.convolve(gradients, convolutions, reflected=False, wider=True)
        unpad = torch.ops.aten.reflection_pad2d_backward  # adds the gradient of each padded pixel to its original
        of_input = [unpad(gradient, x, [1, 1, 1, 1]) for gradient, x in zip(padded, (local, glob), strict=True)]
        from_both, from_local = kernel.weight_gradients(
            [local, glob], gradients, [local.shape[1] + glob.shape[1], local.shape[1]]
        )
        return None, *of_input, *from_both.split([local.shape[1], glob.shape[1]], dim=1), from_local


class FrozenConv(torch.autograd.Function):
    """A zero-padded 3 x 3 convolution with frozen weights: (B, C, H, W) -> (B, O, H, W), float32."""

    @staticmethod
    def forward(ctx: Any, kernel: Kernel, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        ctx.kernel, ctx.dilation = kernel, dilation
        ctx.save_for_backward(weight)
        (transformed,) = kernel.transform_temporarily([weight])
        convolution = Convolution(transformed, len(weight), bias)
        (y,) = kernel.convolve([x], [convolution], dilation=dilation, reflected=False)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        (transformed,) = ctx.kernel.transform_temporarily([weight], backward=True)
        convolution = Convolution(transformed, weight.shape[1])
        (of_input,) = ctx.kernel.convolve([gradient], [convolution], dilation=ctx.dilation, reflected=False)
        return None, of_input, None, None, None


def use_winograd(*networks: nn.Module) -> None:
    """Let the FFCs and the frozen 3 x 3 convolutions of ``networks`` use the kernel; state dicts stay the same."""
    for layer in (layer for network in networks for layer in network.modules()):
        if isinstance(layer, FFC) and _has_all_three(layer):
            layer.convolutions = MethodType(_convolutions, layer)  # type: ignore[method-assign]
        elif type(layer) is nn.Conv2d and _is_frozen(layer):
            layer.forward = MethodType(_conv, layer)  # type: ignore[method-assign]


def _has_all_three(layer: FFC) -> bool:
    convs = (layer.convl2l, layer.convg2l, layer.convl2g)
    return all(c is not None and _is_plain(c) and c.padding == (1, 1) for c in convs)


def _is_frozen(layer: nn.Conv2d) -> bool:
    zeros = layer.padding_mode == "zeros" and layer.padding == layer.dilation
    return _is_plain(layer) and zeros and layer.groups == 1 and not layer.weight.requires_grad


def _is_plain(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (3, 3) and layer.stride == (1, 1) and layer.dilation[0] == layer.dilation[1]


def _convolutions(self: FFC, local: Tensor, glob: Tensor) -> tuple[Tensor | None, Tensor | None]:
    weights = [conv.weight for conv in (self.convl2l, self.convg2l, self.convl2g) if conv is not None]
    found = _usable(local, *weights)
    if found is None:
        return FFC.convolutions(self, local, glob)
    to_local, to_glob = FFCConvolutions.apply(found, local, glob, *weights)
    return to_local, to_glob


def _conv(self: nn.Conv2d, x: Tensor) -> Tensor:
    found = _usable(x, self.weight)
    if found is None:
        return nn.Conv2d.forward(self, x)
    return FrozenConv.apply(found, x, self.weight, self.bias, self.dilation[0])


def _usable(x: Tensor, *weights: Tensor) -> Kernel | None:
    """The kernel, if it suits this layer. In bfloat16 torch's own convolutions are as fast."""
    other = x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    return None if other or min(n for weight in weights for n in weight.shape[:2]) < FEWEST else kernel()

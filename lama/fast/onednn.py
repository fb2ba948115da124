"""Convolutions with ReLU or a sum inside, as oneDNN computes them: a CPU's, and private API of torch.

The operators ``torch.ops.mkldnn._convolution*`` are what ``torch.compile`` emits for x86; they have no promise of
stability. ``usable`` therefore tries them once on a small tensor, and ``fused_layers`` does without where they fail.
"""

import functools
import logging

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)
Pair = list[int]


def conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, dilation: int, relu: bool, padding: Pair
) -> Tensor:
    """Convolution, zeros beyond the border, ReLU on request; all channels-last."""
    after = "relu" if relu else "none"
    return torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, [stride] * 2, [dilation] * 2, 1, after, [], ""
    )


def add_conv_(total: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, relu: bool) -> Tensor:
    """``total`` becomes total + conv(x), then ReLU on request."""
    return torch.ops.mkldnn._convolution_pointwise_.binary(
        total, x, weight, bias, [0, 0], [1, 1], [dilation] * 2, 1, "add", 1.0, "relu" if relu else None, [], None
    )


@functools.cache
def usable(dtype: torch.dtype) -> bool:
    """True where the operators exist and give what ``torch.nn.functional`` gives; says once where they do not."""
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    generator = torch.Generator().manual_seed(0)
    x, w, total = (torch.randn(shape, generator=generator) for shape in [(1, 4, 8, 8), (6, 4, 3, 3), (1, 6, 6, 6)])
    x, w, total = (t.to(dtype).to(memory_format=torch.channels_last) for t in (x, w, total))
    bias = torch.ones(6, dtype=dtype)
    try:
        plain = F.conv2d(x, w, bias)
        got = conv(x, w, bias, 1, 1, True, [0, 0]), add_conv_(total.clone(), x, w, bias, 1, relu=True)
        tolerance = 1e-4 if dtype == torch.float32 else 0.1
        for mine, expected in zip(got, (plain.relu(), (total + plain).relu()), strict=True):
            torch.testing.assert_close(mine, expected, rtol=tolerance, atol=tolerance)
    except (RuntimeError, AttributeError, TypeError, AssertionError) as error:
        logger.info("torch %s: no fused oneDNN convolutions (%s)", torch.__version__, str(error).split("\n")[0])
        return False
    return True

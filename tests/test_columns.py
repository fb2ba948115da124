"""The convolution into the image's three channels, by columns: the same sums."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lama.fast import columns
from lama.fast.columns import by_columns, use_columns
from lama.models import FFCResNetGenerator


@pytest.mark.parametrize("shape", [(3, 8, 7, 7), (1, 5, 5, 7), (4, 2, 1, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_those_of_the_convolution(shape, bias):
    torch.manual_seed(0)
    x = torch.randn(2, shape[1], 11, 13, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    inputs = [x, weight, *([torch.randn(shape[0], dtype=torch.float64, requires_grad=True)] if bias else [])]
    got, expected = by_columns(*inputs, *([] if bias else [None])), F.conv2d(*inputs)
    gradient = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(got, inputs, gradient), torch.autograd.grad(expected, inputs, gradient), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_the_generators_last_convolution_uses_it_in_training_and_only_there(monkeypatch):
    calls = []
    monkeypatch.setattr(
        columns, "by_columns", lambda x, weight, bias: calls.append(weight.shape) or F.conv2d(x, weight, bias)
    )
    generator = FFCResNetGenerator(ngf=4, n_blocks=1)
    names = list(generator.state_dict())
    use_columns(generator)
    assert list(generator.state_dict()) == names
    generator.eval()(torch.rand(1, 4, 32, 32))
    assert calls == []
    generator.train()(torch.rand(1, 4, 32, 32))
    assert calls == [(3, 4, 7, 7)]


def test_in_bfloat16_the_last_sum_is_float32():
    x, weight = torch.randn(1, 64, 9, 64), torch.randn(3, 64, 7, 7)
    with torch.autocast("cpu", torch.bfloat16):
        got = by_columns(x, weight, None)
    expected = F.conv2d(x.double(), weight.double())
    assert got.dtype == torch.float32
    assert (got - expected).abs().max() < 0.01 * expected.abs().max()


def test_a_layer_that_strides_or_pads_is_left_alone():
    layers = nn.Sequential(nn.Conv2d(3, 3, 7, padding=3), nn.Conv2d(3, 3, 7, stride=2), nn.Conv2d(3, 8, 7))
    use_columns(layers)
    assert not any("forward" in vars(layer) for layer in layers)

"""A frozen network under autocast: its weights are cast once, and the numbers are autocast's."""

import torch
from formula import fill
from torch import nn

from lama.losses.frozen import Frozen
from lama.models import SegmentationEncoder


def test_under_autocast_the_features_and_gradients_are_the_same_to_the_bit():
    encoder = fill(SegmentationEncoder()).eval().requires_grad_(False)
    frozen = Frozen(encoder)
    x = torch.rand(1, 3, 32, 32, requires_grad=True)

    def features(network):
        with torch.autocast("cpu", torch.bfloat16):
            output = network(x)
        return [*output, *torch.autograd.grad(sum(y.float().sum() for y in output), x)]

    for a, b in zip(features(frozen), features(encoder), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    assert {tensor.dtype for tensor in encoder.state_dict().values()} == {torch.float32, torch.int64}


def test_weights_are_cast_once_and_again_after_they_have_moved():
    frozen = Frozen(nn.Conv2d(3, 4, 3))
    with torch.autocast("cpu", torch.bfloat16):
        frozen(torch.rand(1, 3, 8, 8))
        first = frozen._cast[torch.bfloat16]["weight"]
        frozen(torch.rand(1, 3, 8, 8))
        assert frozen._cast[torch.bfloat16]["weight"] is first
        frozen.double()
        assert not frozen._cast
    assert frozen(torch.rand(1, 3, 8, 8, dtype=torch.float64)).dtype == torch.float64

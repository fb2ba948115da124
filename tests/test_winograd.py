"""Winograd's convolutions for training: values and gradients equal torch's in double precision."""

import logging

import pytest
import torch
import torch.nn.functional as F
from formula import fill
from trainings import a_batch, make_module

from lama.fast import trained_winograd as winograd
from lama.fast import winograd_kernel
from lama.fast.trained_winograd import FFCConvolutions, FrozenConv, use_winograd
from lama.fast.winograd_kernel import Kernel
from lama.losses import HRFPerceptualLoss
from lama.models import FFCResNetGenerator, SegmentationEncoder
from lama.models.ffc import FFC


@pytest.fixture
def kernel():
    found = winograd_kernel.kernel()
    if found is None:
        pytest.skip("no C++ compiler here")
    return found


@pytest.fixture
def everywhere(monkeypatch):
    """However few channels there are."""
    monkeypatch.setattr(winograd, "FEWEST", 1)


def numbers(*shape, layout=torch.channels_last):
    return torch.randn(*shape).contiguous(memory_format=layout).requires_grad_()


def in_double(tensors):
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


def assert_near(got, expected):
    for mine, right in zip(got, expected, strict=True):
        assert (mine - right).abs().max() <= 1e-5 * right.abs().max()


def ffc_convolutions(local, glob, ll, gl, lg):
    local, glob = (F.pad(x, (1, 1, 1, 1), mode="reflect") for x in (local, glob))
    return F.conv2d(local, ll) + F.conv2d(glob, gl), F.conv2d(local, lg)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 4, 4), (1, 5, 7), (3, 17, 3), (2, 12, 20)])
@pytest.mark.parametrize("channels", [(1, 1), (5, 3), (16, 48), (33, 20)])
def test_the_convolutions_of_an_ffc(kernel, channels, shape, layout):
    torch.manual_seed(0)
    (batch, height, width), (local, glob) = shape, channels
    inputs = [numbers(batch, n, height, width, layout=layout) for n in channels]
    inputs += [numbers(o, i, 3, 3, layout=layout) for o, i in ((local, local), (local, glob), (glob, local))]
    outputs = FFCConvolutions.apply(kernel, *inputs)
    gradients = [torch.randn_like(y).contiguous(memory_format=layout) for y in outputs]
    doubles = in_double(inputs)
    expected = ffc_convolutions(*doubles)
    assert_near(outputs, expected)
    got = torch.autograd.grad(outputs, inputs, gradients)
    assert_near(got, torch.autograd.grad(expected, doubles, [g.double() for g in gradients]))


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 4, 4), (1, 13, 18), (1, 3, 40), (2, 32, 8)])
@pytest.mark.parametrize("channels", [(1, 1), (5, 40), (33, 16)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_frozen_convolution(kernel, with_bias, channels, shape, dilation):
    torch.manual_seed(0)
    x = numbers(shape[0], channels[0], *shape[1:])
    weight = numbers(channels[1], channels[0], 3, 3).detach()
    bias = torch.randn(channels[1]) if with_bias else None
    y = FrozenConv.apply(kernel, x, weight, bias, dilation)
    gradient = torch.randn_like(y)
    (double,) = in_double([x])
    expected = F.conv2d(
        double, weight.double(), bias.double() if with_bias else None, padding=dilation, dilation=dilation
    )
    assert_near([y], [expected])
    (got,) = torch.autograd.grad(y, x, gradient)
    assert_near([got], torch.autograd.grad(expected, double, gradient.double()))


def test_few_tiles_at_a_time_and_several_threads_change_nothing(kernel, monkeypatch):
    torch.manual_seed(0)
    inputs = [numbers(2, n, 30, 26) for n in (18, 40)]
    inputs += [numbers(o, i, 3, 3) for o, i in ((18, 18), (18, 40), (40, 18))]

    def everything():
        outputs = FFCConvolutions.apply(kernel, *inputs)
        return [*outputs, *torch.autograd.grad(outputs, inputs, [torch.ones_like(y) for y in outputs])]

    expected = [value.detach().clone() for value in everything()]
    monkeypatch.setattr(winograd_kernel, "SCRATCH", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert_near(everything(), expected)


def test_the_layers_it_is_meant_for_use_it_and_no_others(kernel, monkeypatch):
    calls = []
    monkeypatch.setattr(winograd, "_usable", lambda x, *weights: calls.append(weights))
    generator, encoder = FFCResNetGenerator(ngf=4, n_blocks=2), SegmentationEncoder().requires_grad_(False)
    use_winograd(generator, encoder)
    generator(torch.rand(1, 4, 32, 32))
    assert [len(weights) for weights in calls] == [3] * 4  # two FFCs in each of two blocks
    calls.clear()
    encoder(torch.rand(1, 3, 32, 32))
    assert len(calls) == 2 + 3 + 3 + 6 + 3  # the stem, and every 3 x 3 that does not stride
    trained = SegmentationEncoder()
    use_winograd(trained)
    assert "forward" not in vars(trained.layer3[0].conv2)


def hrf_module(**recipe):
    hrf = HRFPerceptualLoss(encoder=fill(SegmentationEncoder()))
    return make_module({"resnet_pl": hrf}, **recipe)


def step(module, dtype=torch.float32):
    module = module.to(dtype).train()
    batch = {name: value.to(dtype) for name, value in a_batch().items()}
    logs, _ = module.step(batch, *module.configure_optimizers())
    return [*logs.values(), *(p.grad for p in module.generator.parameters())]


def test_a_training_step_is_the_same_to_rounding(kernel, everywhere):
    expected = step(hrf_module(), torch.float64)
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        convolve = Kernel.convolve
        patch.setattr(Kernel, "convolve", lambda *a, **k: calls.append(1) or convolve(*a, **k))
        got = step(hrf_module(winograd=True))
    assert len(calls) > 20
    plain = step(hrf_module())
    scale = [value.abs().max() for value in expected]
    worst = [max((a - b).abs().max() / s for a, b, s in zip(values, expected, scale, strict=True) if s > 1e-6)
             for values in (got, plain)]  # fmt: skip
    assert worst[0] < max(1e-4, 3 * worst[1])  # torch's own convolutions in float32, with another rounding


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_torch(kernel, everywhere, dtype):
    ffc = FFC(8, 8, 3, 0.5, 0.5, padding=1).to(dtype)
    x = [torch.rand(1, 4, 6, 6, dtype=dtype) for _ in range(2)]
    expected = ffc.convolutions(*x)
    use_winograd(ffc)
    assert all(torch.equal(a, b) for a, b in zip(ffc.convolutions(*x), expected, strict=True))


def test_without_a_compiler_the_numbers_are_those_of_torch(everywhere, monkeypatch, tmp_path, caplog):
    winograd_kernel.kernel.cache_clear()
    winograd_kernel.native.load.cache_clear()
    monkeypatch.setenv("LAMA_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    try:
        ffc, x = FFC(8, 8, 3, 0.5, 0.5, padding=1), [torch.rand(1, 4, 6, 6) for _ in range(2)]
        expected = ffc.convolutions(*x)
        use_winograd(ffc)
        with caplog.at_level(logging.WARNING, "lama"):
            got = [ffc.convolutions(*x) for _ in range(2)]
        assert all(torch.equal(a, b) for a, b in zip(got[1], expected, strict=True))
        assert len(caplog.records) == 1
    finally:
        winograd_kernel.kernel.cache_clear()
        winograd_kernel.native.load.cache_clear()

"""Networks: shapes, gradients, sizes, and the Fourier unit against an explicit transform."""

from inspect import signature

import numpy as np
import pytest
import torch
from budget import within
from torch import nn

import lama.models
from lama.interfaces import StagedGenerator
from lama.models import (
    DilatedResNetGenerator,
    FFCResNetGenerator,
    PatchDiscriminator,
    ResNetGenerator,
    SegmentationEncoder,
    VGG19Features,
)
from lama.models.ffc import FFC, ConcatBranches, FourierUnit
from lama.models.layers import ReflectedConv2d, ReflectionPad2d

SMALL = {"ngf": 4, "n_blocks": 1}  # of the arguments that a generator has
TINY = {
    name: (name, {key: SMALL[key] for key in SMALL if key in signature(getattr(lama.models, name)).parameters})
    for name in lama.models.GENERATORS
}
TINY["resize"] = ("FFCResNetGenerator", {"ngf": 4, "n_blocks": 1, "upsampling": "resize"})


@pytest.fixture(params=TINY)
def generator(request):
    torch.manual_seed(0)
    name, settings = TINY[request.param]
    return getattr(lama.models, name)(**settings)


@pytest.mark.parametrize("size", [(0, 0), (64, 64), (32, 48), (61, 83), (17, 16), (100, 30)])
def test_generator_keeps_any_size_and_stays_in_range(generator, size):
    size = [max(generator.min_size, side) for side in size]
    with torch.no_grad():
        out = generator.eval()(torch.rand(2, 4, *size))
    assert out.shape == (2, 3, *size)
    assert out.min() >= 0
    assert out.max() <= 1


def test_every_parameter_of_a_generator_receives_a_gradient(generator):
    generator.train()(torch.rand(2, 4, 80, 80)).square().sum().backward()
    missing = [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing


def test_the_stages_in_turn_are_the_network(generator):
    if not isinstance(generator, StagedGenerator):
        pytest.skip(f"{type(generator).__name__} offers no stages, which is allowed")
    encoder, blocks, decoder = generator.eval().stages()
    assert len(blocks) == generator.config.get("n_blocks", len(blocks))
    x = torch.rand(1, 4, 80, 96)
    with torch.no_grad():
        features = encoder(x)
        for block in blocks:
            features = block(features)
        assert torch.equal(decoder(features), generator(x))


def test_a_generator_can_be_rebuilt_from_its_config(generator):
    twin = type(generator)(**generator.config)
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in generator.state_dict().items()}


def test_one_block_already_sees_the_whole_image():
    torch.manual_seed(0)
    network = FFCResNetGenerator(ngf=4, n_blocks=1).eval()
    x = torch.rand(1, 4, 128, 128, requires_grad=True)
    network(x)[0, :, 0, 0].sum().backward()
    assert (x.grad[0, :, 96:, 96:].abs().sum(0) > 0).all()


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (lambda: FFCResNetGenerator(), 27_048_835),
        (lambda: FFCResNetGenerator(n_blocks=18), 50_975_875),
        (lambda: FFCResNetGenerator(n_blocks=6), 19_073_155),
        (lambda: FFCResNetGenerator(enable_lfu=True), 29_716_867),
        (lambda: FFCResNetGenerator(ratio=0.25), 43_550_083),
        (lambda: FFCResNetGenerator(ratio=0.5), 37_363_843),
        (lambda: FFCResNetGenerator(ratio=1.0), 12_605_059),
        (lambda: ResNetGenerator(), 45_617_731),
        (lambda: ResNetGenerator(n_blocks=15), 73_947_715),
        (lambda: DilatedResNetGenerator(), 45_645_379),
        (lambda: PatchDiscriminator(), 6_962_369),
        (lambda: SegmentationEncoder(), 23_631_808),
        (lambda: SegmentationEncoder(dilated=False), 23_631_808),
    ],
    ids=[
        "lama-fourier",
        "big-lama",
        "shallow",
        "lfu",
        "ratio .25",
        "ratio .5",
        "ratio 1",
        "lama-regular",
        "big-lama-regular",
        "lama-dilated",
        "patchgan",
        "segmentation encoder",
        "plain encoder",
    ],
)
def test_parameter_counts_are_the_published_ones(network, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in network().parameters()) == count


@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 8), (6, 7), (5, 7), (1, 1), (2, 1)])
def test_fourier_unit_equals_an_explicit_transform(height, width):
    """Direct DFT in float64: interleaved real and imaginary planes, a convolution, ReLU, and back."""
    rng = np.random.default_rng(0)
    unit = FourierUnit(2, 3).double().eval()
    torch.nn.init.normal_(unit.conv_layer.weight, generator=torch.Generator().manual_seed(1))
    x = rng.standard_normal((1, 2, height, width))
    rows = np.exp(-2j * np.pi * np.outer(np.arange(height), np.arange(height)) / height) / np.sqrt(height)
    columns = np.exp(-2j * np.pi * np.outer(np.arange(width), np.arange(width)) / width) / np.sqrt(width)
    half = width // 2 + 1
    spectrum = np.einsum("uh,chw,vw->cuv", rows, x[0], columns)[..., :half]
    planes = np.stack([spectrum[0].real, spectrum[0].imag, spectrum[1].real, spectrum[1].imag])
    mixed = np.einsum("oc,chw->ohw", unit.conv_layer.weight.detach().numpy()[..., 0, 0], planes)
    mixed = np.maximum(mixed / np.sqrt(1 + unit.bn.eps), 0)
    expected = np.zeros((3, height, width))
    for c in range(3):
        full = np.zeros((height, width), complex)
        full[:, :half] = mixed[2 * c] + 1j * mixed[2 * c + 1]
        for v in range(half, width):  # a real signal's spectrum: conjugate of the mirrored frequency
            full[:, v] = np.conj(full[-np.arange(height) % height, width - v])
        for v in (0, width // 2) if width % 2 == 0 else (0,):  # self-mirrored columns: only their real signal counts
            full[:, v] = (full[:, v] + np.conj(full[-np.arange(height) % height, v])) / 2
        expected[c] = np.einsum("uh,uv,vw->hw", rows.conj(), full, columns.conj()).real
    with torch.no_grad():
        out = unit(torch.from_numpy(x))
    within("Fourier unit", out[0], expected)


def test_fourier_unit_is_float32_inside_under_autocast():
    unit = FourierUnit(2, 2).eval()
    x = torch.rand(1, 2, 6, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = unit(x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, unit(x), atol=5e-2, rtol=5e-2)


def test_ffc_without_global_channels_is_a_convolution():
    layer = FFC(4, 6, 3, ratio_in=0, ratio_out=0, padding=1)
    local, glob = layer((torch.rand(1, 4, 8, 8), None))
    assert local.shape == (1, 6, 8, 8)
    assert glob is None
    assert [name for name, _ in layer.named_parameters()] == ["convl2l.weight"]


def test_ffc_refuses_a_stride_with_global_input():
    with pytest.raises(ValueError, match=r"ratio_in = 0, got 0\.5"):
        FFC(4, 4, 3, 0.5, 0.5, stride=2)


@pytest.mark.parametrize("bad", [{"ratio": 0}, {"ratio": 1.5}, {"ngf": 0}, {"n_blocks": 0}, {"n_downsampling": 0}])
def test_generator_refuses_sizes_that_cannot_work(bad):
    with pytest.raises(ValueError, match=r"generator.*got"):
        FFCResNetGenerator(**bad)


@pytest.mark.parametrize(("size", "grid"), [(256, 19), (512, 35), (128, 11)])
def test_discriminator_grid_and_features(size, grid):
    with torch.device("meta"):
        logits, features = PatchDiscriminator()(torch.empty(1, 3, size, size))
    assert logits.shape == (1, 1, grid, grid)
    assert [f.shape[1] for f in features] == [64, 128, 256, 512, 512]


def test_segmentation_encoder_keeps_an_eighth_of_the_resolution():
    with torch.device("meta"):
        maps = SegmentationEncoder()(torch.empty(1, 3, 256, 256))
    assert [tuple(m.shape[1:]) for m in maps] == [(256, 64, 64), (512, 32, 32), (1024, 32, 32), (2048, 32, 32)]


def test_plain_segmentation_encoder_goes_down_to_a_thirty_second():
    with torch.device("meta"):
        maps = SegmentationEncoder(dilated=False)(torch.empty(1, 3, 256, 256))
    assert [tuple(m.shape[1:]) for m in maps] == [(256, 64, 64), (512, 32, 32), (1024, 16, 16), (2048, 8, 8)]


def test_plain_stages_equal_those_of_another_implementation():
    """torchvision's ResNet50, from the second stage on; the stems differ."""
    import lama.torchvision_ops  # noqa: F401  isort: skip
    from torchvision.models import resnet50

    torch.manual_seed(0)
    ours, theirs = SegmentationEncoder(dilated=False).eval(), resnet50(weights=None).eval()
    x = torch.rand(1, 256, 16, 16)
    with torch.no_grad():
        for stage in ("layer2", "layer3", "layer4"):
            theirs.get_submodule(stage).load_state_dict(ours.get_submodule(stage).state_dict())
            expected = theirs.get_submodule(stage)(x)
            torch.testing.assert_close(ours.get_submodule(stage)(x), expected)
            x = expected


def test_lfu_refuses_odd_sizes():
    network = FFCResNetGenerator(ngf=8, n_blocks=1, enable_lfu=True).eval()
    assert network.pad_multiple == 16
    with pytest.raises(ValueError, match=r"\(8, 9\).*pad_multiple"):
        network(torch.rand(1, 4, 64, 72))
    with pytest.raises(ValueError, match=r"enable_lfu: 6 .* 4"):
        FFCResNetGenerator(ngf=2, n_blocks=1, enable_lfu=True)


def test_dilations_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"n_dilations: 32 .* 3"):
        DilatedResNetGenerator(ngf=4, n_dilations=3)


def test_vgg_gives_thirteen_maps():
    with torch.device("meta"):
        maps = VGG19Features()(torch.empty(1, 3, 64, 64))
    assert [m.shape[1] for m in maps] == [64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512]


def test_smooth_init_keeps_a_constant_constant():
    network = FFCResNetGenerator(ngf=4, n_blocks=1, smooth_init=True)
    up = next(layer for layer in network.model if isinstance(layer, torch.nn.ConvTranspose2d))
    inside = up(torch.ones(1, up.in_channels, 8, 8))[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside))


def grid(network):
    """How much the decoder changes within 8 pixels, where the features of the bottleneck are constant."""
    first = next(i for i, layer in enumerate(network.model) if isinstance(layer, ConcatBranches)) + 1
    with torch.no_grad():
        features = torch.randn(1, network.model[first].in_channels, 1, 1).expand(-1, -1, 8, 8)
        image = network.eval().model[first:](features)
    inside = image[..., 16:-16, 16:-16]
    return (inside - inside[..., :1, :1]).abs().max().item()


def test_resized_features_cannot_make_a_grid_and_a_transposed_convolution_can():
    torch.manual_seed(0)
    assert grid(FFCResNetGenerator(ngf=4, n_blocks=1, upsampling="resize")) < 1e-6
    assert grid(FFCResNetGenerator(ngf=4, n_blocks=1)) > 1e-3


def test_upsampling_is_transposed_unless_asked_for_and_another_word_is_refused():
    assert FFCResNetGenerator(ngf=4, n_blocks=1).config["upsampling"] == "transposed"
    with pytest.raises(ValueError, match=r"generator\.upsampling: expected one of transposed, resize, got 'nearest'"):
        FFCResNetGenerator(upsampling="nearest")


@pytest.mark.parametrize("settings", [{"padding": 1}, {"padding": 4, "dilation": 4}, {"padding": 1, "stride": 2}])
def test_a_reflected_convolution_is_torchs_and_pads_in_the_dtype_of_its_input(settings):
    torch.manual_seed(0)
    ours, x = ReflectedConv2d(3, 5, 3, **settings), torch.randn(2, 3, 9, 12)
    torchs = nn.Conv2d(3, 5, 3, padding_mode="reflect", **settings)
    torchs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(x), torchs(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16
        assert ReflectionPad2d(3)(x.bfloat16()).dtype == torch.bfloat16  # torch's own answers in float32

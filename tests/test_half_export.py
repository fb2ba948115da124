"""Networks in float16 between float32 ends: error, range, size of the files."""

import pytest
import torch
from budget import within
from formula import fill, formula_image
from networks import GENERATORS
from test_export import SUFFIX, compare, metadata

from lama.checkpoints import load_generator, save_generator
from lama.export import check, export_model
from lama.export.fourier import MatmulFourierUnit, with_matmul
from lama.export.half import Half, _SpectrumConv
from lama.models import FFCResNetGenerator
from lama.models.ffc import FourierUnit


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("matmul", [False, True])
def test_every_generator_in_half_precision(name, matmul):
    generator = fill(GENERATORS[name](), gain=1.2).eval()
    half = Half(with_matmul(generator) if matmul else generator).eval()
    x = formula_image(3, 1, 4, 80, 96)
    with torch.no_grad():
        expected, result = generator(x), half(x)
    assert result.dtype == torch.float32
    assert (result != expected).any()
    within("half precision", result, expected)
    kinds = {value.dtype for key, value in half.state_dict().items() if key.endswith("weight") and value.ndim > 1}
    assert kinds == {torch.float16}


@pytest.mark.parametrize("kind", [FourierUnit, MatmulFourierUnit])
def test_a_sum_over_the_whole_image_does_not_overflow(kind):
    unit = fill(FourierUnit(4, 4)).eval()
    x = 1000 + 10 * torch.randn(1, 4, 96, 96, generator=torch.Generator().manual_seed(0))
    assert x.mean() * 96 > torch.finfo(torch.float16).max
    expected = unit(x)
    half = unit if kind is FourierUnit else kind(unit)
    half.half().bn.float()
    half.conv_layer = _SpectrumConv(half.conv_layer)
    result = half(x.half())
    assert result.dtype == torch.float16
    assert (result - expected).abs().max() < 2e-3 * expected.abs().max()


def test_a_weight_beyond_float16_is_named(tmp_path):
    generator = GENERATORS["regular"]()
    key = next(iter(generator.state_dict()))
    generator.state_dict()[key].view(-1)[0] = 1e5
    save_generator(tmp_path / "a.safetensors", generator.eval())
    with pytest.raises(ValueError, match=f"half=true: {key}"):
        export_model(str(tmp_path / "a.safetensors"), "torchscript", str(tmp_path / "a.pt"), half=True)
    assert not (tmp_path / "a.pt").exists()


def test_the_check_refuses_a_network_whose_activations_overflow(tmp_path):
    generator = fill(GENERATORS["regular"](), gain=1.2).eval()
    first = next(layer for layer in generator.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    first.weight.data.fill_(6e4)
    save_generator(tmp_path / "a.safetensors", generator)
    with pytest.raises(ValueError, match="differs from the network"):
        export_model(str(tmp_path / "a.safetensors"), "torchscript", str(tmp_path / "a.pt"), half=True)


@pytest.mark.parametrize(
    ("format", "fft", "pre_post"),
    [
        ("torchscript", "native", True),
        ("torchscript", "matmul", False),
        pytest.param("onnx", "matmul", False, marks=pytest.mark.slow),
        pytest.param("onnx", "matmul", True, marks=pytest.mark.slow),
        pytest.param("onnx", "native", True, marks=pytest.mark.slow),
        pytest.param("pt2", "native", True, marks=pytest.mark.slow),
    ],
)
def test_a_half_file_has_half_the_size_and_runs_at_other_sizes(tmp_path, format, fft, pre_post):
    generator = fill(FFCResNetGenerator(ngf=24, n_blocks=1), gain=1.2).eval()
    source, out = tmp_path / "a.safetensors", tmp_path / f"a{SUFFIX[format]}"
    save_generator(source, generator)
    lines = []
    export_model(str(source), format, str(out), pre_post, fft, half=True, say=lines.append)
    assert any("float16" in line for line in lines)
    assert metadata(out)["precision"] == "float16"
    assert 1e-6 < compare(out, load_generator(source), pre_post) < check.SMALL_TOLERANCE
    weights = 4 * sum(parameter.numel() for parameter in generator.parameters())
    graph = 1_300_000 if format == "pt2" else 450_000
    assert out.stat().st_size < weights / 2 + graph

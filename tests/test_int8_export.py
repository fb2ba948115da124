"""ONNX files with weights in 8 bits."""

import numpy as np
import pytest
from budget import within
from formula import fill
from test_export import compare, metadata

from lama.checkpoints import load_generator
from lama.checkpoints.format import save_generator
from lama.export import export_model
from lama.export.int8 import with_int8_weights
from lama.models import FFCResNetGenerator

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def chain():
    """Four convolutions, the third transposed, whose weights have rows of very different size."""
    rng = np.random.default_rng(0)
    shapes = {"first": (16, 3, 3, 3), "second": (64, 16, 3, 3), "third": (64, 32, 3, 3), "last": (16, 32, 3, 3)}
    weights = {name: rng.normal(size=shape).astype(np.float32) / 10 for name, shape in shapes.items()}
    weights["second"] *= np.geomspace(1e-3, 1, 64).reshape(-1, 1, 1, 1).astype(np.float32)
    weights["third"] *= np.geomspace(1e-3, 1, 32).reshape(1, -1, 1, 1).astype(np.float32)
    nodes, value = [], "x"
    for name in shapes:
        kind = "ConvTranspose" if name == "third" else "Conv"
        nodes.append(onnx.helper.make_node(kind, [value, name], [f"{name}_out"], pads=[1, 1, 1, 1]))
        value = f"{name}_out"
    sizes = [onnx.helper.make_tensor_value_info(n, 1, [1, c, 9, 9]) for n, c in (("x", 3), (value, 16))]
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(nodes, "chain", sizes[:1], sizes[1:], stored)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), weights


def test_each_output_channel_has_its_own_scale():
    model, weights = chain()
    small = onnx.load_from_string(with_int8_weights(model.SerializeToString()))
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    assert stored["second.int8"].dtype == stored["third.int8"].dtype == np.int8
    assert {"first", "last"} <= set(stored), "the first and the last convolution keep float32"
    for name, axis in (("second", 0), ("third", 1)):
        assert name not in stored
        shape = [-1 if i == axis else 1 for i in range(4)]
        step = stored[f"{name}.scale"].reshape(shape)
        again = stored[f"{name}.int8"] * step
        assert (np.abs(again - weights[name]) <= 0.501 * step).all()
    x = np.random.default_rng(1).normal(size=(1, 3, 9, 9)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(None, {"x": x})[0] for each in (model, small)
    )
    assert 0 < np.abs(after - before).max() < 0.02 * np.abs(before).max()


@pytest.mark.parametrize(("format", "half"), [("torchscript", False), ("onnx", True)])
def test_other_formats_are_refused(tmp_path, format, half):
    out = tmp_path / f"a{'.onnx' if format == 'onnx' else '.pt'}"
    with pytest.raises(ValueError, match=r"int8=true: .*format=onnx"):
        export_model("small", format, str(out), half=half, int8=True)
    assert not out.exists()


@pytest.mark.slow
def test_a_file_has_a_quarter_of_the_size(tmp_path):
    generator = fill(FFCResNetGenerator(ngf=24, n_blocks=2), gain=1.2).eval()
    source, out = tmp_path / "a.safetensors", tmp_path / "a.onnx"
    save_generator(source, generator)
    export_model(str(source), "onnx", str(out), int8=True)
    assert "int8" in metadata(out)["precision"]
    error = compare(out, load_generator(source), True)
    assert error > 1e-6
    within("weights in 8 bits", error, 0)
    weights = 4 * sum(parameter.numel() for parameter in generator.parameters())
    assert out.stat().st_size < weights / 4 + 450_000

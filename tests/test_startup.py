"""The quick start of ``lama predict``: what is not imported, and that nothing is missing for it."""

import gc
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lama.machine import startup
from lama.machine.startup import META, later, may_use_gpu, quick_start


def python(code, folder):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8)).save(tmp_path / "photo.png")
    mask = np.zeros((40, 56), np.uint8)
    mask[12:20, 12:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


PREDICT = """
import sys
from lama.commands import predict
try:
    predict.main(["image=photo.png", "mask=mask.png", "out=out.png", "device=cpu", *{more}])
except SystemExit as exit:
    assert exit.code == 0
print([name for name in {names} if name in sys.modules])
"""


def test_a_prediction_imports_what_it_needs_only(pictures):
    heavy = ["torch", "torch._prims", "torch._decomp", "numpy.f2py.crackfortran", "hydra", "kornia", "torchvision"]
    assert python(PREDICT.format(more=[], names=heavy), pictures).splitlines()[-1] == "['torch']"


def test_a_prediction_with_an_exported_file_imports_no_torch(pictures):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import toy_onnx

    toy_onnx.write(pictures / "toy.onnx")
    said = python(PREDICT.format(more=["model.path=toy.onnx"], names=["torch", "hydra", "scipy"]), pictures)
    assert said.splitlines()[-1] == "[]"
    photo, out = (np.asarray(Image.open(pictures / name)) for name in ("photo.png", "out.png"))
    hole = np.asarray(Image.open(pictures / "mask.png")) > 0
    assert (out[~hole] == photo[~hole]).all()
    assert (out[hole] != photo[hole]).any()


@pytest.mark.parametrize("driver", [True, False])
def test_a_gpu_gets_all_of_torch(tmp_path, monkeypatch, driver):
    monkeypatch.setattr(startup, "_DRIVERS", (str(tmp_path if driver else tmp_path / "none"),))
    monkeypatch.setattr(sys, "platform", "linux")
    assert [may_use_gpu(device) for device in ("cpu", "cuda:1", "auto")] == [False, True, driver]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert may_use_gpu("auto")


LATER = f"""
import sys
from lama.machine.startup import quick_start
with quick_start():
    import torch
assert "torch._decomp" not in sys.modules, "torch uses a name of {META} at its import: nothing is gained"
assert torch.ones(3).sum() == 3
from {META} import register_meta
assert callable(register_meta)
print(torch.Generator().manual_seed(0).initial_seed(), torch.empty(2, 3, device="meta").softmax(1).shape)
"""


def test_a_module_for_later_is_whole_once_it_is_used(tmp_path):
    """Also the private name: ``torch._meta_registrations`` is a module that torch imports and does not use at once."""
    assert python(LATER, tmp_path).split(" ", 1)[0] == "0"


def test_what_is_imported_already_stays(tmp_path):
    (tmp_path / "module_of_this_test.py").write_text("value = 1\n")
    code = (
        "from lama.machine.startup import later\n"
        "with later('module_of_this_test'):\n import module_of_this_test as one\n"
        "print('value' in vars(one), one.value, 'value' in vars(one))\n"
        "with later('module_of_this_test'):\n import module_of_this_test as two\n"
        "print(two is one, 'value' in vars(two))\n"
        "try:\n one.other\nexcept AttributeError as error:\n print(error)\n"
    )
    first, second, third = python(code, tmp_path).splitlines()
    assert (first, second) == ("False 1 True", "True True")
    assert re.search("no attribute 'other'", third)


def test_garbage_is_collected_again_afterwards():
    assert gc.isenabled()
    finders = list(sys.meta_path)
    with quick_start():
        assert not gc.isenabled()
    with pytest.raises(ZeroDivisionError), quick_start():
        1 / 0  # noqa: B018
    assert gc.isenabled()
    with later("nothing"), pytest.raises(ModuleNotFoundError):
        import nothing  # noqa: F401
    assert sys.meta_path == finders

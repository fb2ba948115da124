"""``lama.onnx``: the same results as with torch, in a process that has no torch."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import toy_onnx

import lama
from lama.export import export_model
from lama.onnx import Inpainter

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (136, 200, 3)).astype(np.uint8)
HOLE = np.zeros((136, 200), np.uint8)
HOLE[10:40, 12:50] = HOLE[90:110, 150:180] = 255
ALPHA = np.where(RNG.random((136, 200)) < 0.2, 0, 200).astype(np.uint8)
KINDS = {
    "uint8": PIXELS,
    "16 bits": PIXELS.astype(np.uint16) * 257,
    "12 bits in 16": PIXELS.astype(np.uint16) * 15,
    "float32": (PIXELS / 255).astype(np.float32),
    "grey": PIXELS[..., 0],
    "alpha": np.dstack([PIXELS, ALPHA]),
    "PIL RGB": Image.fromarray(PIXELS),
    "PIL RGBA": Image.fromarray(np.dstack([PIXELS, ALPHA])),
    "PIL palette": Image.fromarray(PIXELS).quantize(32),
    "PIL 16 bits": Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257),
}
# names that the process of the test below cannot import
BLOCKED = ("torch", "torchvision", "pytorch_lightning", "lightning", "scipy", "hydra", "omegaconf", "cv2", "skimage",
           "kornia", "tifffile", "tqdm", "yaml", "filelock", "matplotlib", "safetensors", "albumentations")  # fmt: skip
BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError("blocked", name=name)
sys.meta_path.insert(0, Blocked())
"""
ALONE = f"""{BLOCK}
import lama
assert not [name for name in sys.modules if name.startswith("lama.")]
from lama.onnx import Inpainter
import numpy as np
image, mask = np.load("image.npy"), np.load("mask.npy")
for strategy in ("auto", "full", "crop", "tile"):
    np.save(strategy + ".npy", Inpainter("toy.onnx", strategy, tile=128, threads=1)(image, mask))
np.save("scaled.npy", Inpainter("toy.onnx", scale=64)(image, mask))
assert not [name for name in sys.modules if name.partition(".")[0] in {BLOCKED}]
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toy_onnx.write(tmp_path_factory.mktemp("onnx") / "toy.onnx")


def by_torch(**options):
    return lama.Inpainter(toy_onnx.Toy(), "cpu", detail="off", fast=False, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["auto", "crop"])
def test_every_kind_of_image_is_filled_as_with_torch(toy, kind, strategy):
    image = KINDS[kind]
    result = Inpainter(toy, strategy, margin=16)(image, Image.fromarray(HOLE))
    expected = by_torch(strategy=strategy, margin=16)(image, Image.fromarray(HOLE))
    assert type(result) is type(expected)
    if isinstance(image, Image.Image):
        assert result.mode == expected.mode
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.dtype == expected.dtype
    assert np.array_equal(result[HOLE == 0], expected[HOLE == 0])
    step = 1e-5 if result.dtype.kind == "f" else 1
    assert np.abs(result.astype(float) - expected.astype(float)).max() <= step
    assert (result[HOLE > 0] != np.asarray(KINDS["uint8"])[HOLE > 0][: result[HOLE > 0].shape[0], 0:1]).any()


def test_the_window_decides(toy):
    """Otherwise the comparison with torch would not notice a wrong window."""
    whole, crops = (Inpainter(toy, name, margin=16)(PIXELS, HOLE) for name in ("full", "crop"))
    assert (whole != crops)[HOLE > 0].mean() > 0.3


@pytest.mark.parametrize("ignore", ["black", "mask", "all"])
def test_ignored_pixels_are_ignored_as_with_torch(toy, ignore):
    image, others = PIXELS.copy(), np.zeros((136, 200), bool)
    image[:, 100:], others[:, 100:] = 0, True
    value = {"black": "black", "mask": others, "all": ~(HOLE > 0)}[ignore]
    for strategy in ("full", "crop"):
        expected = by_torch(strategy=strategy)(image, HOLE > 0, value)
        assert np.abs(Inpainter(toy, strategy)(image, HOLE > 0, value).astype(int) - expected).max() <= 1


def test_tiles_fill_the_hole_and_nothing_else(toy):
    one = np.zeros((136, 200), bool)
    one[20:50, 20:60] = True
    expected = by_torch(strategy="tile", tile=256)(PIXELS, one)
    assert np.abs(Inpainter(toy, "tile", tile=256)(PIXELS, one).astype(int) - expected).max() <= 1
    large = np.zeros((136, 200), bool)
    large[4:-4, 4:-4] = True
    result = Inpainter(toy, "tile", tile=128)(PIXELS, large)
    assert np.array_equal(result[~large], PIXELS[~large])
    assert (result[large] != PIXELS[large]).any(axis=1).mean() > 0.9
    assert result[large].std() < PIXELS[large].std() / 2


def test_a_scale_reduces_what_the_network_sees(toy, monkeypatch):
    monkeypatch.setattr(toy_onnx.Toy, "pad_multiple", 1)  # mirrored pixels would change the mean
    yy, xx = np.mgrid[:400, :600]
    smooth = np.dstack([yy / 2, xx / 3, (yy + xx) / 5]).astype(np.uint8)
    hole = np.zeros((400, 600), bool)
    hole[100:300, 200:420] = True
    for strategy in ("auto", "full"):
        result = Inpainter(toy, strategy, scale=128)(smooth, hole)
        expected = by_torch(strategy=strategy, scale=128)(smooth, hole)
        assert np.array_equal(result[~hole], smooth[~hole])
        difference = np.abs(result.astype(int) - expected)[hole]  # Pillow's cubic interpolation is not OpenCV's
        assert difference.mean() < 0.5
        assert difference.max() < 8
    larger = Inpainter(toy, scale=1024)(smooth, hole)  # not enlarged
    assert np.abs(larger.astype(int) - by_torch(scale=1024)(smooth, hole)).max() <= 1


def test_profiles_and_other_data_of_a_picture_are_kept(toy):
    image = Image.fromarray(PIXELS)
    image.info |= {"icc_profile": b"profile", "dpi": (300, 300)}
    result = Inpainter(toy)(image, HOLE)
    assert result.info == {"icc_profile": b"profile", "dpi": (300, 300)}


def test_an_empty_mask_costs_nothing(toy, monkeypatch):
    inpainter = Inpainter(toy)
    monkeypatch.setattr(inpainter._network, "predict", None)
    assert np.array_equal(inpainter(PIXELS, np.zeros_like(HOLE, bool)), PIXELS)


def test_an_inpainter_can_be_pickled(toy):
    inpainter = Inpainter(toy, "crop", margin=16)
    again = pickle.loads(pickle.dumps(inpainter))
    assert repr(again) == repr(inpainter)
    assert np.array_equal(again(PIXELS, HOLE), inpainter(PIXELS, HOLE))


def test_memory_is_limited(toy):
    large = np.ones((136, 200), bool)
    with pytest.raises(ValueError, match=r"strategy full .* 1e-05 GB .* max_memory"):
        Inpainter(toy, "full", max_memory=1e-5)(PIXELS, large)


def test_it_works_where_nothing_else_can_be_imported(toy, tmp_path):
    (tmp_path / "toy.onnx").write_bytes(toy.read_bytes())
    np.save(tmp_path / "image.npy", PIXELS)
    np.save(tmp_path / "mask.npy", HOLE)
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for strategy in ("auto", "full", "crop", "tile"):
        expected = Inpainter(toy, strategy, tile=128)(PIXELS, HOLE)
        assert np.array_equal(np.load(tmp_path / f"{strategy}.npy"), expected)
    assert np.array_equal(np.load(tmp_path / "scaled.npy"), Inpainter(toy, scale=64)(PIXELS, HOLE))


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import lama; lama.load('small')", r"ModuleNotFoundError: lama\.load needs torch: pip install torch"),
        ("from lama.commands import run_verb; run_verb('predict', ['image=a.png'])", r"^error: \w+ is not installed: "),
    ],
)
def test_the_rest_of_the_package_says_what_it_lacks(tmp_path, program, says):
    done = subprocess.run([sys.executable, "-c", BLOCK + program], cwd=tmp_path, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert re.search(says, last)
    assert "from lama.onnx import Inpainter" in last


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"path": "none.onnx"}, FileNotFoundError, r"none\.onnx: no such file; lama export .*format=onnx"),
        ({"path": "."}, FileNotFoundError, r"is a folder"),
        ({"path": "text.onnx"}, ValueError, r"text\.onnx: not an ONNX file, or damaged; lama export"),
        ({"path": "empty.onnx"}, ValueError, r"empty\.onnx: not an ONNX file, or damaged; lama export"),
        ({"path": "half.onnx"}, ValueError, r"half\.onnx: not an ONNX file, or damaged; lama export"),
        ({"path": "other.onnx"}, ValueError, r"expected image, mask -> completed, got masked, mask -> whole; lama"),
        ({"threads": 0}, ValueError, r"threads=0"),
        ({"threads": "all"}, ValueError, r"threads='all': expected a whole number, or None"),
        ({"scale": "big"}, ValueError, r"scale='big': expected a whole number, or None"),
        ({"margin": 1.5}, ValueError, r"margin=1.5: expected a whole number, or None"),
        ({"tile": None}, ValueError, r"tile=None: expected a whole number$"),
        ({"max_memory": "1 GB"}, ValueError, r"max_memory='1 GB': expected GB"),
        ({"detail": "much"}, ValueError, r"detail=much: expected auto, on, off"),
        ({"providers": "nonsense"}, ValueError, r"providers='nonsense': expected a list of some of .*CPUExecution"),
        ({"strategy": "whole"}, ValueError, r"strategy=whole"),
        ({"scale": 10}, ValueError, r"scale=10"),
        ({"scale": 256, "strategy": "tile"}, ValueError, r"scale=256 .*strategy=tile"),
        ({"max_memory": 0}, ValueError, r"max_memory=0"),
        ({"providers": ["NoneExecutionProvider"]}, ValueError, r"has no NoneExecutionProvider; it has .*CPU"),
    ],
)
def test_a_mistake_is_one_line(toy, tmp_path, monkeypatch, options, error, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.onnx").write_text("text")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "half.onnx").write_bytes(toy.read_bytes()[:-100])
    toy_onnx.write(tmp_path / "other.onnx", ("masked", "mask", "whole"))
    with pytest.raises(error, match=says) as caught:
        Inpainter(**{"path": toy} | options)
    assert "\n" not in str(caught.value)


def test_a_missing_runtime_is_named_with_its_command(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"^lama\.onnx needs onnxruntime: pip install onnxruntime$"):
        Inpainter(toy)


def test_a_result_that_is_not_finite_is_refused(tmp_path):
    broken = toy_onnx.write(tmp_path / "nan.onnx", offset=float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        Inpainter(broken)(PIXELS, HOLE)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """lama-small as an ONNX file."""
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    export_model("small", "onnx", str(path))
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_memory_is_as_estimated(small):
    """``-s`` prints the share of the estimate; ``lama.onnx.network._TOP`` states its part that grows with width."""
    program = """
import re, sys, numpy as np
from pathlib import Path
from lama.onnx.network import Network
from lama.strategies.memory import Memory
network = Network("small.onnx", 1, ["CPUExecutionProvider"])
memory = Memory(0, network.bytes_per_pixel, 0.0, None)
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before, size = peak(), int(sys.argv[1])
hole = np.zeros((size, size), bool)
hole[:50, :50] = True
network.predict(np.zeros((size, size, 3), np.uint8), hole)
print((peak() - before) / memory.needs(size, size))
"""
    for size in (384, 1024):
        command = [sys.executable, "-c", program, str(size)]
        share = float(subprocess.run(command, cwd=small.parent, capture_output=True, text=True, check=True).stdout)
        print(f"{size} x {size}: {share:.2f} of the estimate")
        assert 0.5 < share < 1.15


@pytest.mark.slow
def test_an_environment_of_three_packages(root, small, tmp_path):
    """The wheel beside NumPy, Pillow and onnxruntime: lama-small gives the result that torch gives, sooner."""
    python = environment(root, tmp_path, "numpy", "pillow", "onnxruntime")
    shutil.copy(small, tmp_path)
    image = RNG.integers(0, 256, (512, 512, 3)).astype(np.uint8)
    mask = np.zeros((512, 512), np.uint8)
    mask[150:300, 100:330] = 255
    np.savez(tmp_path / "in.npz", image=image, mask=mask)
    seconds = {
        name: run_cold(tmp_path, python_, load, name)
        for name, python_, load in (
            ("onnx", python, "from lama.onnx import Inpainter; fill = Inpainter('small.onnx', threads=1)"),
            ("torch", sys.executable, "import lama; fill = lama.load('small', 'cpu', detail='off')"),
        )
    }
    print({name: [f"{value:.2f}" for value in values] for name, values in seconds.items()})
    ours, theirs = (np.load(tmp_path / f"{name}.npy") for name in ("onnx", "torch"))
    assert np.array_equal(ours[mask == 0], image[mask == 0])
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert seconds["onnx"][0] < 0.3
    assert sum(seconds["onnx"]) < sum(seconds["torch"])
    for name in ("torch", "scipy", "hydra", "pytorch_lightning", "cv2"):
        done = subprocess.run([python, "-c", f"import {name}"], capture_output=True, text=True)
        assert "ModuleNotFoundError" in done.stderr


def run_cold(folder, python, load, name):
    """[seconds of the processor for the imports, for opening and the first result] in a new process on one thread."""
    imported = load.partition(";")[0]
    program = f"""
import time
start = time.process_time()
{imported}
middle = time.process_time()
{load}
import numpy as np
given = np.load("in.npz")
np.save("{name}.npy", fill(given["image"], given["mask"]))
print(middle - start, time.process_time() - middle)
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" or name == "torch"}
    done = subprocess.run(
        [python, "-c", program], cwd=folder, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [float(value) for value in done.stdout.split()]


def environment(root, folder, *packages):
    """The Python of a new environment that holds the wheel, ``packages`` of this one, and what these require."""
    source = folder / "source"
    for name in ("lama", "configs"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, source]
    subprocess.run(build, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python, (wheel,) = folder / "venv" / "bin" / "python", folder.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    site, waiting, done = next((folder / "venv").glob("lib/python*/site-packages")), [*packages], set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        distribution = metadata.distribution(name)
        needed = [line for line in distribution.requires or () if "extra ==" not in line]
        waiting += [re.match(r"[\w.-]+", line)[0] for line in needed]
        for top in {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    shutil.rmtree(source)
    return python

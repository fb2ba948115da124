"""Packages of a user's own: named with plugins=, imported once, never by a file; the template of ``lama new``."""

import os
import subprocess
import sys

import numpy as np
import pytest

import lama
from lama import plugins
from lama.checkpoints import architecture
from lama.checkpoints.format import save_generator
from lama.config import build, use_plugins
from lama.evaluation import METRICS
from lama.project import new_project

PARTS = {
    "__init__": "from {name}.parts import *\nfrom {name}.parts import METRICS\n",
    "parts": """
from torch import nn
from lama.interfaces import ImageMetric

class Half(ImageMetric):
    label, higher_is_better, bounds = "Half of {name}", True, (0.0, 1.0)
    def score(self, completed, target, mask):
        return completed.flatten(1).mean(dim=1)

class Plain(nn.Module):
    pad_multiple, min_size = 1, 1
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.config = {{"width": width}}
        self.layer = nn.Conv2d(4, 3, width, padding="same")
    def forward(self, x):
        return self.layer(x).sigmoid()

METRICS = {{"{name}_half": Half}}
""",
}
HALF = "from {name}.parts import Half\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that writes a package into the current folder; afterwards it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_used", {})
    before, metrics = set(sys.modules), dict(METRICS)

    def make(name, **files):
        (tmp_path / name).mkdir()
        for file, text in (PARTS | files).items():
            (tmp_path / name / f"{file}.py").write_text(text.format(name=name))
        return name

    yield make
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]
    METRICS.clear()
    METRICS.update(metrics)


def test_a_package_gives_targets_and_metrics_once_it_is_named(package):
    name = package("plugged")
    node = {"_target_": "plugged.Plain", "width": 5}
    with pytest.raises(ValueError, match=r"generator\._target_.*plugged\.Plain.*plugins="):
        build(node, "generator")
    assert "plugged" not in sys.modules
    use_plugins([name])
    assert build(node, "generator").config == {"width": 5}
    assert METRICS["plugged_half"].label == "Half of plugged"
    assert {name: place.name for name, place in plugins.used().items()} == {"plugged": "plugged"}
    use_plugins([name])  # again: nothing changes
    with pytest.raises(ValueError, match=r"generator\.width.*true"):
        build({**node, "width": True}, "generator")
    for wrong in ("plugged.Missing", "plugged.parts.nn"):
        with pytest.raises(ValueError, match=rf"generator\._target_: {wrong}"):
            build({"_target_": wrong}, "generator")


def test_a_file_of_weights_never_imports_a_package(package, tmp_path):
    use_plugins([package("plugged")])
    network = build({"_target_": "plugged.Plain"}, "generator")
    save_generator(tmp_path / "own.safetensors", network)
    image, mask = np.full((16, 20, 3), 90, np.uint8), np.zeros((16, 20), bool)
    mask[4:9, 4:9] = True
    filled = lama.load(tmp_path / "own.safetensors", "cpu", detail="off")(image, mask)
    assert (filled[~mask] == 90).all()
    assert (filled[mask] != 90).any()
    for name in ("plugged.parts.Half", "plugged.parts.missing"):  # no network
        with pytest.raises(ValueError, match=name):
            architecture.build("generator", name, {})
    plugins._used.clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "plugged"]:
        del sys.modules[name]
    with pytest.raises(ValueError, match=r"own\.safetensors: plugged\.parts\.Plain .*plugins=\[plugged\]") as caught:
        lama.load(tmp_path / "own.safetensors", "cpu")
    assert "\n" not in str(caught.value)
    assert "plugged" not in sys.modules


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"parts": "import not_there"}, r"broken cannot be imported: ModuleNotFoundError.*not_there.*parts\.py:1"),
        ({"parts": "x = 1 / 0"}, r"ZeroDivisionError: division by zero .*parts\.py:1"),
        ({"__init__": "def f(:\n"}, "SyntaxError"),
        ({"__init__": "METRICS = {{'psnr': object}}"}, r"metric psnr of broken: lacks label"),
        ({"__init__": HALF + "METRICS = {{'psnr': Half}}"}, "metric psnr of broken: the name is taken"),
        ({"__init__": HALF + "METRICS = {{'full': Half}}"}, "metric full of broken: the name is taken"),
        ({"__init__": HALF + "Half.label = 'PSNR'\nMETRICS = {{'p': Half}}"}, "metric p of broken: psnr .*'PSNR'"),
    ],
)  # fmt: skip
def test_a_package_that_cannot_be_used_is_one_line(package, files, what):
    with pytest.raises(ValueError, match=what) as caught:
        use_plugins([package("broken", **files)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [["not_there"], ["os"], ["lama"], "plugged", [3], ["a.b"]])
def test_names_that_are_no_packages(package, names):
    with pytest.raises(ValueError, match="plugins"):
        use_plugins(names)


@pytest.mark.parametrize("name", ["my-project", "class", "os", "lama", "3d"])
def test_a_new_package_needs_a_name_that_python_can_import(tmp_path, name):
    with pytest.raises(ValueError, match=name):
        new_project(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_new_package_overwrites_nothing(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(FileExistsError, match="mine"):
        new_project(tmp_path / "mine")


def test_the_training_of_a_new_package_uses_all_of_its_parts(package, tmp_path, monkeypatch, capsys):
    from lama.commands.new import main
    from lama.commands.train import main as train

    main(["my_project"])
    assert "my_project/my_project/losses.py" in capsys.readouterr().out
    assert not [p for p in (tmp_path / "my_project").rglob("*") if p.is_file() and "PROJECT" in p.read_text()]
    monkeypatch.chdir(tmp_path / "my_project")
    words = ["-cn", "my_project", "--config-dir", "configs", "dry_run=true", "augment.size=64", "data.batch_size=2"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    train([*words, "data.val_size=64", "data.num_workers=0", "discriminator.ndf=4", "trainer.accelerator=cpu"])
    printed = capsys.readouterr().out
    for part in ("my_project.EdgeLoss", "my_project.Stripes", "my_project.TwoScaleGenerator", "my_project_roughness"):
        assert part in printed


@pytest.mark.slow
def test_a_new_package_passes_its_tests_as_it_comes(tmp_path, root):
    new_project(tmp_path / "my_project")
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{tmp_path / 'my_project'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "tests"]
    done = subprocess.run(
        command, cwd=tmp_path / "my_project", env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "5 passed" in done.stdout

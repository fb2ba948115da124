"""The wheel, installed alone, trains and predicts, and has the commands of bin/."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import pytest
from PIL import Image

from lama.verbs import VERBS

TINY = ["-cn", "demo", "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4", "augment.size=64",
        "data.epoch_size=4", "data.batch_size=2", "data.max_val_pairs=2", "data.val_per_image=1", "data.num_workers=0",
        "trainer.max_epochs=1", "run_dir=run"]  # fmt: skip


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory):
    """The ``lama`` command of an environment that holds the wheel, and sees the dependencies of this one."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("lama", "configs"):
        shutil.copytree(root / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    call(folder, *pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, folder / "source")
    call(folder, sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    call(folder, *pip, "--python", python, "install", "--no-deps", "--no-index", *folder.glob("*.whl"))
    packages = next((folder / "venv").glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # not read for .pth files itself
    shutil.rmtree(folder / "source")
    return folder / "venv" / "bin" / "lama"


def call(folder, *command, code=0):
    """Run a command in ``folder`` without this clone's paths; returns (stdout, stderr)."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HYDRA_FULL_ERROR")}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_an_installed_wheel_trains_and_predicts(installed, root, tmp_path):
    python = installed.with_name("python")
    where = call(tmp_path, python, "-c", "import lama, lama.config as c; print(lama.__file__, c.CONFIGS)")[0]
    assert str(root) not in where
    call(tmp_path, installed, "train", *TINY)
    steps = (tmp_path / "run" / "next_steps.txt").read_text()
    assert "lama train -cn demo" in steps
    assert "lama predict model.path=run" in steps
    assert "bin/" not in steps.replace("/bin/", "")
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.eye(40, 50, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    call(tmp_path, installed, "predict", "model.path=run", "image=a.png", "mask=m.png", "out=b.png", "compiled=false")
    assert Image.open(tmp_path / "b.png").size == (50, 40)


def test_an_installed_wheel_knows_its_verbs(installed, tmp_path):
    listed = call(tmp_path, installed, "--help")[0]
    assert all(f"  {verb} " in listed for verb in VERBS)
    assert "lama train -cn demo" in call(tmp_path, installed, "train", "--help")[0]
    error = call(tmp_path, installed, "evaluat", code=2)[1]
    assert error.startswith("error: evaluat: ")
    assert "did you mean evaluate?" in error
    assert len(error.splitlines()) == 1
    assert "lama train -m sweep=NAME" in call(tmp_path, installed, "sweep", "status", "nowhere", code=2)[1]

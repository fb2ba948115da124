"""Every layout in which networks of LaMa lie around, loaded by name through a server that plays GitHub."""

import hashlib
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from formula import fill
from mirror import serve
from safetensors.torch import save_file
from test_foreign_checkpoints import JITWrapper, TrainingModule, lightning_checkpoint

import lama
from lama.checkpoints import load_generator, open_checkpoint, save_official
from lama.models import FFCResNetGenerator, PatchDiscriminator
from lama.pretrained.table import NETWORKS, ReleasedFile, ReleasedNetwork


@pytest.fixture(scope="module")
def generator():
    return fill(FFCResNetGenerator(ngf=8, n_blocks=2)).eval()


class SimpleLama(torch.nn.Module):
    """As simple-lama exports it: the composite is made by the wrapper, the generator is named alike."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, image, mask):
        return mask * self.generator(torch.cat([image * (1 - mask), mask], dim=1)) + (1 - mask) * image


def traced(module, path):
    example = torch.rand(1, 3, 120, 120), torch.rand(1, 1, 120, 120)
    torch.jit.trace(module.eval(), example, strict=False).save(str(path))


def zipped(folder, generator, root):
    save_official(folder / "made" / root, generator)
    lightning_checkpoint(folder / "made" / root / "models" / "best.ckpt", generator)
    (folder / "made" / root / "__MACOSX").mkdir()
    (folder / "made" / root / "__MACOSX" / "._best.ckpt").write_bytes(b"of a Mac")
    return shutil.make_archive(str(folder / "net"), "zip", folder / "made")


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


other = {"val_evaluator.scores.lpips.score.model.net.lin0.model.1.weight": torch.zeros(1, 4, 1, 1)}
noise = lambda state: {key: torch.zeros_like(value) for key, value in state.items()}  # noqa: E731
STATES = {
    "comics.ckpt": lambda s: {"gen_state_dict": s, "dis_state_dict": fill(PatchDiscriminator(ndf=8)).state_dict()},
    "spandrel.pth": lambda s: prefixed(s, "model."),
    "metrics.ckpt": lambda s: {"state_dict": prefixed(s, "generator.") | other},
    "odd_metrics.ckpt": lambda s: {"state_dict": prefixed(s, "inpainter.net.") | other},
    "compiled.ckpt": lambda s: {"state_dict": prefixed(s, "generator._orig_mod.")},
    "compiled_inside.ckpt": lambda s: {k.replace("model.", "model._orig_mod.", 1): v for k, v in s.items()},
    "averages.pth": lambda s: {"params": noise(s), "params_ema": s},
    "ema.ckpt": lambda s: {"state_dict": prefixed(noise(s), "generator.") | prefixed(s, "generator_ema.")},
} | {f"{key}.pth": (lambda s, key=key: {key: s}) for key in
     ("model", "params", "params_ema", "netG", "net", "G", "G_ema", "model_state_dict")}  # fmt: skip
FORMS = {
    "iopaint.pt": lambda g, path: traced(JITWrapper(TrainingModule(g)), path),
    "simple.pt": lambda g, path: traced(SimpleLama(g), path),
    "official.zip": lambda g, path: shutil.move(zipped(path.parent, g, "big-lama"), path),
    "flat.zip": lambda g, path: shutil.move(zipped(path.parent, g, ""), path),
    "best.ckpt": lambda g, path: lightning_checkpoint(path, g),
    "with_discriminator.ckpt": lambda g, path: lightning_checkpoint(path, g, fill(PatchDiscriminator(ndf=8))),
    "converted.safetensors": lambda g, path: save_file(g.state_dict(), path),
    "spandrel.safetensors": lambda g, path: save_file(prefixed(g.state_dict(), "model."), path),
    "comfy.safetensors": lambda g, path: save_file(prefixed(g.state_dict(), "generator."), path),
    "whole.pth": lambda g, path: torch.save(g, path),
    "whole_training.pth": lambda g, path: torch.save(TrainingModule(g), path),
} | {name: (lambda g, path, make=make: torch.save(make(g.state_dict()), path)) for name, make in STATES.items()}


@pytest.fixture
def by_name(tmp_path, monkeypatch):
    """A function: offer a file on the server under the name of the released network ``big-lama``."""
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "others"))
    monkeypatch.chdir(tmp_path)
    with serve() as mirror:

        def offer(path):
            content = path.read_bytes()
            mirror.files["/storage/x/" + path.name] = content
            url = f"{mirror.url}/hub/x/{path.name}"
            spec = ReleasedFile(path.name, (url,), hashlib.sha256(content).hexdigest(), len(content))
            monkeypatch.setitem(NETWORKS, "big-lama", ReleasedNetwork("big-lama", (spec,), "toys", "MIT"))
            return mirror

        yield offer


@pytest.mark.parametrize("form", FORMS)
def test_a_network_loads_by_name_from_every_form(tmp_path, by_name, generator, form):
    (tmp_path / "made").mkdir()
    path = tmp_path / "made" / form
    FORMS[form](generator, path)
    mirror = by_name(path)
    loaded = lama.load("big-lama").generator
    x = torch.rand(1, 4, 48, 40)
    with torch.no_grad():
        assert torch.equal(loaded(x), generator(x))
    lama.load("big-lama")
    assert len(mirror.asked) == 2  # a redirect and a file, once


def test_a_model_of_that_name_on_disk_comes_first(tmp_path, by_name, generator, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "a.pth"
    torch.save(fill(FFCResNetGenerator(ngf=4, n_blocks=1)).state_dict(), path)
    by_name(path)
    (tmp_path / "big-lama" / "results").mkdir(parents=True)  # a folder without a model is not one
    assert load_generator("big-lama").config["n_blocks"] == 1
    save_official(tmp_path / "big-lama", generator)
    assert load_generator("big-lama").config["n_blocks"] == 2
    assert "big-lama/models/best.ckpt" in caplog.text
    shutil.rmtree(tmp_path / "big-lama")
    shutil.copy(path, "big-lama")
    load_generator("big-lama")
    assert "not the released network" in caplog.text


def test_the_discriminator_comes_along_where_the_file_holds_one(tmp_path, by_name, generator):
    by_name(lightning_checkpoint(tmp_path / "a.ckpt", generator, fill(PatchDiscriminator(ndf=8))))
    assert len(open_checkpoint("big-lama").part("discriminator")) == 32


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00"
REFUSED = {
    "mpe.ckpt": (lambda p, s: torch.save({"gen_state_dict": s, "str_state_dict": {"x": torch.zeros(1)}}, p), "comics"),
    "two.pth": (lambda p, s: torch.save({"first": s, "second": noise(s)}, p), "first., second."),
    "lfs.pt": (lambda p, s: p.write_bytes(LFS), "git lfs pull"),
    "lfs.safetensors": (lambda p, s: p.write_bytes(LFS), "git lfs pull"),
    "page.ckpt": (lambda p, s: p.write_bytes(b"<!DOCTYPE html><html>"), "web page"),
    "page.safetensors": (lambda p, s: p.write_bytes(b"\n<html>Not found"), "web page"),
    "own.onnx": (lambda p, s: p.write_bytes(b"onnx"), "another runtime"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_model_is_named_for_what_it_is(tmp_path, generator, name):
    make, part = REFUSED[name]
    make(tmp_path / name, generator.state_dict())
    with pytest.raises(ValueError, match=rf"{name}: .*{part}") as caught:
        load_generator(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_zip_of_several_models_names_them(tmp_path, generator):
    torch.save(generator.state_dict(), tmp_path / "best.ckpt")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("fourier", "regular"):
            archive.write(tmp_path / "best.ckpt", f"{name}/models/best.ckpt")
    with pytest.raises(ValueError, match=r"all\.zip: .*fourier/models/best\.ckpt, regular"):
        load_generator(tmp_path / "all.zip")


def test_the_config_in_a_zip_is_compared(tmp_path, generator):
    save_official(tmp_path / "made" / "net", generator)
    config = tmp_path / "made" / "net" / "config.yaml"
    config.write_text(config.read_text().replace("n_blocks: 2", "n_blocks: 9"))
    path = shutil.make_archive(str(tmp_path / "net"), "zip", tmp_path / "made")
    with pytest.raises(ValueError, match="n_blocks 2 instead of 9"):
        load_generator(path)


def test_an_onnx_of_another_project_is_named(tmp_path, monkeypatch):
    from lama.pretrained import networks

    row = {"file": "lama_fp32.onnx", "size": 4, "sha256": hashlib.sha256(b"onnx").hexdigest(), "what": "of Carve",
           "instead": "big-lama"}  # fmt: skip
    monkeypatch.setattr(networks, "NOT_READ", [row])
    (tmp_path / "renamed.onnx").write_bytes(b"onnx")
    with pytest.raises(ValueError, match=r"renamed\.onnx: of Carve; take model\.path=big-lama"):
        load_generator(tmp_path / "renamed.onnx")


def test_an_image_by_name_equals_an_image_by_path(tmp_path, by_name, generator):
    torch.save(generator.state_dict(), tmp_path / "a.pth")
    by_name(tmp_path / "a.pth")
    image = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
    mask = np.zeros((40, 48), np.uint8)
    mask[10:20, 10:20] = 255
    np.testing.assert_array_equal(lama.load("big-lama")(image, mask), lama.load(tmp_path / "a.pth")(image, mask))


_FULL_SIZE = """
import sys, time
import numpy as np
import lama.inference
from pathlib import Path
from lama.pretrained.table import NETWORKS, ReleasedFile, ReleasedNetwork

def megabytes(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key))) / 1024

url, sha256, size = sys.argv[1:]
file = ReleasedFile("big-lama.pt", (url,), sha256, int(size))
NETWORKS["big-lama"] = ReleasedNetwork("big-lama", (file,), "", "")
mask = np.zeros((512, 512), np.uint8)
mask[200:300, 100:160] = 255
before, began = megabytes("VmRSS"), time.monotonic()
inpainter = lama.load("big-lama")
print(time.monotonic() - began, megabytes("VmHWM") - before)
inpainter(np.full((512, 512, 3), 90, np.uint8), mask)
print(time.monotonic() - began, megabytes("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_big_lama_by_name_at_full_size_is_in_memory_once(tmp_path, monkeypatch):
    """Prints seconds and MB of the call and of the first result, fetched from this machine and then from the cache."""
    path = tmp_path / "big-lama.pt"
    traced(JITWrapper(TrainingModule(fill(FFCResNetGenerator(n_blocks=18)).eval())), path)
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path / "cache"))
    content = path.read_bytes()
    with serve() as mirror:
        mirror.files["/big-lama.pt"] = content
        arguments = [f"{mirror.url}/big-lama.pt", hashlib.sha256(content).hexdigest(), str(len(content))]
        for origin in ("fetched", "from the cache"):
            done = subprocess.run(
                [sys.executable, "-c", _FULL_SIZE, *arguments], capture_output=True, text=True, check=True
            )
            (load, at_load), (first, at_first) = (map(float, line.split()) for line in done.stdout.splitlines())
            print(
                f"{origin}: loaded in {load:.1f} s, +{at_load:.0f} MB; first result {first:.1f} s, +{at_first:.0f} MB"
            )
            assert at_load * 2**20 < 1.5 * len(content)
        assert len(mirror.asked) == 1

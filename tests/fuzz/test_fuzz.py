"""Damaged files of every kind end in documented errors: one line that names the file.

``LAMA_FUZZ=10000`` sets the number of mutations of each kind (``make fuzz``). The seeds are fixed.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import mutations

from lama.checkpoints import open_checkpoint
from lama.checkpoints.official import read_config
from lama.data.manifest import Manifest
from lama.demo.app import Limits, Service
from lama.demo.work import Job, Worker
from lama.machine.memory import peak_memory
from lama.pictures import MaskReader
from lama.pictures.images import read_image
from lama.pictures.prediction_set import find
from lama.pictures.reading import read_image_file
from lama.serving.refused import RefusedError

COUNT = int(os.environ.get("LAMA_FUZZ", "0"))
IMAGES = mutations.images()
MOST = 1_500_000_000  # bytes by which the peak memory of this process may grow


@pytest.fixture(autouse=True)
def bounded(tmp_path, monkeypatch, caplog):
    """Memory stays bounded, nothing is left in the working directory, no library writes to the log."""
    monkeypatch.chdir(tmp_path)
    before = peak_memory(torch.device("cpu"))
    yield
    assert not [record for record in caplog.records if not record.name.startswith("lama")]
    assert peak_memory(torch.device("cpu")) - before < MOST
    assert not [path for path in tmp_path.iterdir() if path.name not in ("a.safetensors", "a.ckpt", "a.pt", "f")]


def tried(name, content, use, count, damage=mutations.damaged):
    """``use`` every mutation; returns the number of refused ones. Other errors than the documented ones are raised."""
    seed = sum(name.encode())
    refused = 0
    for number in range(COUNT or count):
        mutant = damage(content, np.random.default_rng([seed, number]))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Pillow's and others' would reach the terminal
                use(mutant)
        except (ValueError, RefusedError, FileNotFoundError) as error:
            refused += 1
            text = str(error)
            assert text.strip(), f"{name}, mutation {number}: an empty message"
            assert "\n" not in text, f"{name}, mutation {number}: {text!r}"
        except BaseException as error:
            error.add_note(f"{name}, mutation {number}")
            raise
    return refused


@pytest.mark.parametrize("kind", IMAGES)
def test_damaged_images(kind):
    def use(content):
        read_image(Path("a.x"), content)

    assert read_image_file("a.x", IMAGES[kind]).size in ((24, 20), (20, 24))
    assert tried(kind, IMAGES[kind], lambda content: read_image_file("a.x", content), 300)
    assert tried(kind, IMAGES[kind], use, 100)


@pytest.mark.parametrize("kind", IMAGES)
def test_damaged_masks(kind):
    reader = MaskReader(threshold=9)
    assert tried(kind, IMAGES[kind], lambda content: reader.hole(Path("m.x"), content), 100)


@pytest.mark.parametrize(("kind", "damage"), [
    ("safetensors", mutations.damaged), ("archive", mutations.damaged), ("archive", mutations.inside),
    ("torchscript", mutations.damaged), ("torchscript", mutations.inside),
])  # fmt: skip
def test_damaged_checkpoints(tmp_path, kind, damage):
    suffix, content = mutations.checkpoints(tmp_path)[kind]
    file = tmp_path / f"f{suffix}"

    def use(mutant):
        file.write_bytes(mutant)
        try:
            open_checkpoint(file).build("generator")
        finally:
            file.unlink()

    use(content)
    assert tried(kind, content, use, 60, damage)


def test_damaged_configurations(tmp_path):
    file = tmp_path / "f"

    def use(mutant):
        file.write_bytes(mutant)
        read_config(file)

    use(mutations.CONFIG)
    assert tried("config", mutations.CONFIG, use, 300)


def test_damaged_lists(tmp_path):
    file = tmp_path / "f"

    def use(mutant):
        file.write_bytes(mutant)
        find({"pairs": str(file)})

    use(mutations.table())
    assert tried("list", mutations.table(), use, 300)


def test_damaged_manifests(tmp_path):
    file, content = tmp_path / "f", mutations.manifest(tmp_path)

    def use(mutant):
        file.write_bytes(mutant)
        Manifest(file).check_names([])

    assert tried("manifest", content, use, 300)


class AnyModel:
    """Stands in for ``Models``."""

    names = ("any",)

    def known(self, name):
        return "any"


def test_damaged_requests():
    service = Service(AnyModel(), Worker(1), Limits(max_megapixels=1), None)

    def use(mutant):
        service._read(mutant, Job())

    use(mutations.body())
    assert tried("request", mutations.body(), use, 300)

"""Fixtures that several files share."""

import os
import signal
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as commands set it; programs that tests start share the cores

import pytest
import torch
from PIL import Image

import lama.torchvision_ops  # noqa: F401  (before any test imports lightning)

os.environ["LAMA_WEIGHTS"] = "/nonexistent/lama-weights"  # a developer's cache must not change a test
os.environ["LAMA_CACHE"] = str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "lama")  # kernels, built once
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a job in a shell's background ignores it, as would its children
torch.set_num_threads(1)  # the tests run in parallel processes

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data next to the project; tests that need it are skipped without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "parity").is_dir():
        pytest.skip(f"reference data is not there: {folder}")
    return folder


@pytest.fixture(autouse=True)
def image_limit(monkeypatch):
    """Pillow's own limit of pixels in every test; predict and the page set it for the whole process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)


@pytest.fixture
def tiny_generator():
    from lama.models import FFCResNetGenerator

    torch.manual_seed(0)
    return FFCResNetGenerator(ngf=4, n_blocks=1).eval()

"""bfloat16 only where the device is fast in it."""

import logging

import numpy as np
import pytest
import torch
from trainings import run_into

from lama.inference import Inpainter
from lama.runs.precision import choose_precision

CPU = torch.device("cpu")


@pytest.fixture(params=["AVX2", "AVX512"])
def capability(request, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)
    return request.param


def test_auto_is_what_the_device_is_fast_in(capability):
    assert choose_precision("auto", CPU) == {"AVX2": "32-true", "AVX512": "bf16-mixed"}[capability]


def test_bf16_is_obeyed_with_a_warning_where_it_is_slow(capability, caplog):
    assert choose_precision("bf16-mixed", CPU) == "bf16-mixed"
    assert ("32-true" in caplog.text) == (capability == "AVX2")


def test_prediction_computes_in_float32_and_says_so_where_bf16_is_slow(capability, caplog, tiny_generator):
    image, mask = np.full((32, 32, 3), 90, np.uint8), np.eye(32, dtype=np.uint8)
    with caplog.at_level(logging.WARNING, "lama"):
        result = Inpainter(tiny_generator, "cpu", "bf16")(image, mask)
    assert ("precision=bf16" in caplog.text) == (capability == "AVX2")
    if capability == "AVX2":
        np.testing.assert_array_equal(result, Inpainter(tiny_generator, "cpu")(image, mask))


def test_without_a_choice_it_is_float32():
    assert choose_precision(None, CPU) == "32-true"


def test_a_resumed_run_says_that_its_precision_changed(tmp_path, caplog):
    """precision=auto chooses by the machine, and a run may go on elsewhere."""
    run_into(tmp_path / "run", trainer={"precision": "bf16-mixed"})
    caplog.clear()
    run_into(tmp_path / "other", resume=tmp_path / "run/checkpoints/last.ckpt", trainer={"max_epochs": 2})
    assert "precision 32-true instead of bf16-mixed" in caplog.text


def test_deterministic_kernels_are_asked_for(tmp_path):
    assert not torch.are_deterministic_algorithms_enabled()
    try:
        run_into(tmp_path / "run", trainer={"deterministic": "warn"})
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)

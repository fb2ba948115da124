"""TF32 is off wherever numbers are promised: on a GPU since Ampere it would change them by 1e-3."""

import numpy as np
import pytest
import torch
from trainings import a_batch, fit, make_module

from lama.evaluation import Evaluator
from lama.inference import Inpainter
from lama.machine.device import float32


def allowed():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def seen(monkeypatch):
    """Whether TF32 was allowed in each convolution."""
    states = []
    original = torch.nn.Conv2d.forward
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda self, x: (states.append(allowed()), original(self, x))[1])
    return states


def test_the_setting_ends_with_the_block():
    before = allowed()
    with float32():
        assert allowed() == (False, False)
        with float32(tf32=True):
            assert allowed() == (True, True)
        assert allowed() == (False, False)
    assert allowed() == before


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True)])
def test_predictions_use_tf32_only_where_asked(tiny_generator, seen, precision, tf32):
    inpaint = Inpainter(tiny_generator, "cpu", precision, fast=False)
    inpaint(np.zeros((32, 32, 3), np.uint8), np.eye(32, dtype=bool))
    inpaint.predict(torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32))
    assert set(seen) == {(tf32, tf32)}


def test_metrics_never_use_it(monkeypatch):
    evaluator, states = Evaluator(["psnr"]), []
    scorer = evaluator.scorers["psnr"]
    original = scorer.score
    scorer.score = lambda *arguments: (states.append(allowed()), original(*arguments))[1]
    batch = a_batch()
    with float32(tf32=True):
        evaluator.update(["a", "b"], batch["image"], batch["image"] * 0.9, batch["mask"])
    assert states == [(False, False)]


@pytest.mark.parametrize("tf32", [True, False])
def test_a_training_uses_it_as_its_recipe_says(seen, tf32):
    fit(make_module(tf32=tf32), [a_batch()])
    assert set(seen) == {(tf32, tf32)}


def test_counters_stay_on_the_cpu_where_reading_them_does_not_wait_for_a_gpu():
    module = make_module(ema_decay=0.9).to("meta")
    assert module.generator.model[1].ffc.convl2l.weight.device.type == "meta"
    assert module.iteration.device.type == "cpu"

"""Curves, speed and dry runs of a training, and the short debug trainings."""

import json
import math
import re
import runpy
from functools import partial

import numpy as np
import pytest
import torch
from composing import composed
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from trainings import BOXES, TRAINER, make_data, make_module, norms, run_into

from lama.config import build
from lama.data import BuiltinPhotos, Distortions, DistortionsOnDevice, InpaintingDataModule, feeding
from lama.data.datamodule import TimedLoader, Waited
from lama.evaluation import Evaluator
from lama.masks import MaskFolder
from lama.runs import Checkpoints, Limit, Overfit, Profile, callbacks, dry_run
from lama.runs.callbacks import read_metrics
from lama.runs.processes import choose_processes
from lama.runs.run import describe


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    monkeypatch.setattr(callbacks, "draw_curves", lambda *_: None)  # takes seconds


def test_everything_worth_watching_is_written(tmp_path):
    run = run_into(tmp_path / "run", make_module(ema_decay=0.9, cosine_lr=True), data=make_data(epoch_size=40))
    metrics = read_metrics(run / "metrics.csv")
    assert {
        "train_gen_total", "train_gen_l1", "train_gen_adversarial", "train_gen_feature_matching", "train_gen_grad_norm",
        "train_discr_total", "train_discr_real_out", "train_discr_fake_out", "train_discr_real_gp",
        "train_discr_grad_norm", "train_gen_lr", "train_discr_lr",
    } <= metrics.keys()  # fmt: skip
    half_a_cosine = 0.5 * (1 + math.cos(math.pi * 9 / 20))
    assert metrics["train_gen_lr"][1][0] == pytest.approx(1e-3 * half_a_cosine, rel=1e-4)
    assert metrics["train_discr_lr"][1][0] == pytest.approx(metrics["train_gen_lr"][1][0] / 10, rel=1e-4)
    speed = read_metrics(run / "speed.csv")
    assert set(speed) == {"speed_images_per_second", "speed_data_wait", "speed_memory_gb"}
    assert all(iterations == [10, 20] for iterations, _ in speed.values())
    assert all(value > 0 for value in speed["speed_images_per_second"][1])
    assert all(0 < share < 1 for share in speed["speed_data_wait"][1])
    assert all(0.1 < gigabytes < 100 for gigabytes in speed["speed_memory_gb"][1])
    summary = json.loads((run / "summary.json").read_text())
    assert 0 < summary["data_wait"] < 1
    assert "images a second" in (run / "train.log").read_text()


def test_slow_images_are_seen_as_waiting(tmp_path, monkeypatch):
    data = make_data(epoch_size=20)
    read = type(data.train_set).__getitem__

    def slow(self, key):
        data.waited.seconds += 1000  # a fixed time: the test must not depend on the load of the machine
        return read(self, key)

    monkeypatch.setattr(type(data.train_set), "__getitem__", slow)
    monkeypatch.setattr("lama.runs.run._check", lambda *_: None)
    run = run_into(tmp_path / "run", data=data)
    assert read_metrics(run / "speed.csv")["speed_data_wait"][1][0] > 0.9


def test_a_timed_loader_is_a_loader():
    waited = Waited()
    loader = TimedLoader(waited, list(range(10)), batch_size=3, num_workers=1, persistent_workers=True)
    for _ in range(2):
        assert [batch.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert waited.seconds > 0


def test_speed_of_a_resumed_run_has_every_iteration_once(tmp_path):
    run = tmp_path / "run"
    settings = {"resume": "auto", "checkpoints": partial(Checkpoints, every_batches=10)}
    run_into(run, data=make_data(epoch_size=40), **settings)
    with (run / "speed.csv").open("a") as file:  # killed behind its checkpoint, in the middle of a line
        file.write("30,speed_data_wait,0.5\n40,speed_da")
    run_into(run, data=make_data(epoch_size=40), trainer={"max_epochs": 2}, **settings)
    assert read_metrics(run / "speed.csv")["speed_data_wait"][0] == [10, 20, 30, 40]


def test_raw_weights_are_validated_as_well_as_their_averages(tmp_path):
    raw, alone = make_module(ema_decay=0.9, validate_raw=True), make_module(ema_decay=0.9)
    run, other = run_into(tmp_path / "run", raw), run_into(tmp_path / "other", alone)
    series, expected = read_metrics(run / "metrics.csv"), read_metrics(other / "metrics.csv")
    assert {name: values for name, values in series.items() if "val_raw" not in name} == expected
    assert norms(raw.generator) == norms(alone.generator)
    assert series.keys() - expected.keys() == {
        f"val_raw_{metric}_total_{statistic}" for metric in ("psnr_hole", "ssim") for statistic in ("mean", "std")
    }
    unaveraged = run_into(tmp_path / "unaveraged", make_module(validate_raw=True))
    now = read_metrics(unaveraged / "metrics.csv")
    assert not [name for name in now if "val_raw" in name]
    # The weights of the last step equal a training without averages.
    assert series["val_raw_ssim_total_mean"] == now["val_ssim_total_mean"]
    assert series["val_ssim_total_mean"] != now["val_ssim_total_mean"]


def test_limit_does_everything_once(tmp_path):
    module = make_module()
    data = make_data(epoch_size=None, val_per_image=4)
    run = run_into(
        tmp_path / "run", module, data=data, debug=Limit(), trainer={"max_epochs": 40, "val_check_interval": 999}
    )
    assert int(module.iteration) == 2
    assert len(data.val_pairs) == 2
    for name in ("checkpoints/last.ckpt", "models/best.safetensors", "samples/iteration_0000002.png", "summary.json"):
        assert (run / name).is_file(), name
    assert "training 1 epochs, about 2 iterations" in (run / "train.log").read_text()


def test_overfit_trains_and_validates_on_the_same_samples(tmp_path, caplog):
    module = make_module()
    data = make_data()
    seen = []
    step = module.training_step

    def watched(batch, batch_idx):
        seen.extend(image.numpy().tobytes() for image in batch["image"])
        return step(batch, batch_idx)

    module.training_step = watched
    run_into(tmp_path / "run", module, data=data, debug=Overfit(samples=2, batches=40))
    assert len(seen) == 80
    assert len(set(seen)) == 2
    assert {pair.image.shape for pair in data.val_pairs} == {(32, 32, 3)}
    assert "overfit: gen_l1" in caplog.text
    assert "do not fall" not in caplog.text


def test_overfit_warns_if_nothing_is_learnt(tmp_path, caplog):
    module = make_module()
    module.make_optimizers = {name: partial(torch.optim.SGD, lr=0.0) for name in module.make_optimizers}
    run_into(tmp_path / "run", module, debug=Overfit(samples=2, batches=4))
    assert "losses do not fall" in caplog.text


def test_profile_writes_a_trace_and_a_table(tmp_path, caplog):
    run = run_into(tmp_path / "run", debug=Profile(batches=1, warm_up=1))
    assert json.loads((run / "profile.json").read_text())["traceEvents"]
    table = (run / "profile.txt").read_text()
    assert "aten::convolution" in table
    assert f"profile: {run}/profile.json (open it in https://ui.perfetto.dev), {run}/profile.txt" in caplog.text


@pytest.mark.parametrize("make", [partial(Limit, batches=0), partial(Overfit, samples=0), partial(Profile, warm_up=0)])
def test_settings_of_a_short_training_are_checked(make):
    with pytest.raises(ValueError, match=r"debug\.(batches|samples|warm_up): expected at least 1, got 0"):
        make()


def test_a_dry_run_prints_an_estimate_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dry_run(make_module(), make_data(epoch_size=40), TRAINER | {"max_epochs": 1000}, "config: here\n")
    said = capsys.readouterr().out
    for line in (
        "config: here",
        "generator 0.02 M parameters, discriminator 0.00 M",
        "batch size: 2",
        "warning: batch size under 20",
        "measured: 4 steps of 2 images on cpu",
        "the host waits for it 2 times an update: lama/training/non_finite.py:",  # its Adam is not fused
        "estimated: 20000 iterations in",
    ):
        assert line in said, line
    assert 0 < float(re.search(r"on a GPU: tensors of (\S+) GB", said)[1]) < 0.1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("devices", "iterations"), [(2, 6), ([0, 3], 6), ("auto", 12), (-1, 12)])
def test_a_dry_run_for_a_gpu_that_is_not_here(devices, iterations, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("lama.data.feeding.SECONDS", 0.1)
    trainer = {"accelerator": "gpu", "devices": devices, "max_epochs": 3, "precision": "auto"}
    dry_run(make_module(), make_data(epoch_size=8), TRAINER | trainer, "")
    said = capsys.readouterr().out
    assert "on a GPU: tensors of" in said
    assert f"estimated: {iterations} iterations; their time is unknown" in said
    assert "measured" not in said
    assert "the data limit it, not the GPU" in said  # so small a network


@pytest.mark.parametrize(("augment", "where"), [(Distortions(32), ""), (DistortionsOnDevice(32), " (windows")])
def test_the_cores_that_feed_a_card_in_plain_numbers(augment, where, monkeypatch):
    monkeypatch.setattr(feeding, "images_per_core", lambda _: 540.4)
    data = make_data()
    data.train_set.augment = augment
    said = feeding.feeding(data, feeding.H200 / 1234.0)
    assert f"one core makes 540 images a second{where}" in said
    assert "at most 1234 a second, as many as 3 cores" in said
    assert "e+" not in feeding.feeding(data, 1e6)


def test_the_images_of_an_update_and_of_a_batch(capsys):
    said = list(describe(make_module(accumulate=2, second_generator_forward=False), make_data(), 1))
    assert "batch size: 4 images of an update = 2 batches of 2; BatchNorm sees 2" in said
    assert any(line.startswith("warning: batches of 2 are under 20") for line in said)


def test_without_a_gpu_the_error_says_what_works_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"leave out hardware=.*dry_run=true works"):
        choose_processes({"accelerator": "gpu"})


def test_problems_of_the_data_are_named_by_a_training_and_by_its_dry_run(tmp_path, capsys, caplog):
    (tmp_path / "masks").mkdir()
    Image.fromarray(255 - 255 * np.eye(64, dtype=np.uint8)).save(tmp_path / "masks/a.png")
    masks = MaskFolder(str(tmp_path / "masks"))
    data = InpaintingDataModule(
        BuiltinPhotos, "train", masks, Distortions(32), BOXES, epoch_size=2, batch_size=2, val_path="held_out",
        val_size=32, num_workers=0,
    )  # fmt: skip
    dry_run(make_module(), data, TRAINER, "")
    assert "masks.invert=" in capsys.readouterr().out
    run_into(tmp_path / "run", data=data)
    assert "masks.invert=" in caplog.text


def test_a_dry_run_of_an_epoch_of_one_batch(capsys):
    dry_run(make_module(), make_data(epoch_size=2), TRAINER | {"devices": 2, "max_epochs": 1}, "")
    assert "measured: 1 steps" in capsys.readouterr().out


TINY = ["-cn", "demo", "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4", "augment.size=64",
        "data.num_workers=0", "data.val_per_image=1"]  # fmt: skip


def started(root, monkeypatch, *overrides):
    """The command in this process: a new one takes seconds for its imports."""
    monkeypatch.setattr("sys.argv", [str(root / "bin/train.py"), *TINY, *overrides])
    GlobalHydra.instance().clear()
    runpy.run_path(str(root / "bin/train.py"), run_name="__main__")


def test_the_command_makes_a_dry_run_and_then_goes_through_everything_once(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    started(root, monkeypatch, "dry_run=true", f"run_dir={tmp_path}/run")
    printed = capsys.readouterr().out
    assert "generator:\n" in printed
    assert "estimated: 480 iterations in" in printed
    assert not list(tmp_path.iterdir())
    started(root, monkeypatch, "debug=limit", f"run_dir={tmp_path}/run")
    assert [path.name for path in tmp_path.iterdir()] == ["run-debug-limit"]
    started(root, monkeypatch, "debug=limit", f"run_dir={tmp_path}/run")  # again, over itself
    with pytest.raises(SystemExit):
        started(root, monkeypatch, "debug=overfit", "debug.batches=0")
    assert capsys.readouterr().err.endswith("error: debug.batches: expected at least 1, got 0\n")


def test_a_copy_of_an_evaluator_keeps_its_images_to_itself():
    module = make_module(ema_decay=0.9, validate_raw=True)
    assert isinstance(module.raw_evaluator, Evaluator)
    module.raw_evaluator.update(["a"], *[torch.rand(1, 3, 32, 32)] * 2, torch.ones(1, 1, 32, 32))
    assert module.evaluator.names == []


@pytest.mark.parametrize("name", ["limit", "overfit", "profile"])
def test_every_short_training_has_a_configuration(name):
    assert build(composed("demo", f"debug={name}").debug, "debug").name == name

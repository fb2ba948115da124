"""Faults during a training: non-finite steps, dead workers, damaged images, full disks."""

import copy
import errno
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trainings import BOXES, TRAINER, a_batch, fit, make_data, make_module, run_into

from lama.data import Distortions, ImageFolder, InpaintingDataModule
from lama.runs import Checkpoints, NonFiniteGuard, callbacks, train
from lama.runs.checkpointing import read_checkpoint
from lama.runs.processes import dead_workers_explained
from lama.training import InpaintingModule


def state_of(module):
    """The state that a skipped step must not change; counters may change."""
    weights = {key: value for key, value in module.state_dict().items() if key != "iteration"}
    return copy.deepcopy([weights, *[optimizer.state_dict() for optimizer in module.trainer.optimizers]])


def flat(state):
    return torch.utils._pytree.tree_leaves(state)


def same(a, b):
    a, b = flat(a), flat(b)  # an optimiser that has not stepped yet has no state
    pairs = zip(a, b, strict=False)
    return len(a) == len(b) and all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


class Watch:
    """Keeps the state before the first and after every batch."""

    def __init__(self, module):
        self.states = []
        step = module.training_step

        def watched(*arguments):
            if not self.states:
                self.states.append(state_of(module))
            result = step(*arguments)
            self.states.append(state_of(module))
            return result

        module.training_step = watched


def poison(module, where, step):
    """Make one thing of one batch not finite; ``step`` counts from 1."""

    def now():
        return int(module.iteration) + 1 == step

    objective = module.objective
    generator_loss, discriminator_loss = objective.generator_loss, objective.discriminator_loss

    def poisoned(original, loss, gradient):
        def compute(context):
            value, logs = original(context)
            if now() and where == loss:
                value = value * float("nan")
            if now() and where == gradient:
                value.register_hook(lambda g: g * float("inf"))
            return value, logs

        return compute

    objective.generator_loss = poisoned(generator_loss, "generator loss", "generator gradient")
    objective.discriminator_loss = poisoned(discriminator_loss, "discriminator loss", "discriminator gradient")


WHERE = ["generator loss", "generator gradient", "discriminator loss", "discriminator gradient"]


@pytest.mark.parametrize("step", [1, 7])
@pytest.mark.parametrize("second", [True, False], ids=["official", "modern"])
@pytest.mark.parametrize("where", WHERE)
def test_a_step_that_is_not_finite_changes_nothing_bitwise(where, second, step):
    module = make_module(second_generator_forward=second, ema_decay=0.9)
    watch = Watch(module)
    poison(module, where, step)
    fit(module, [a_batch(i) for i in range(8)])
    assert int(module.iteration) == 8
    for i in range(1, 9):
        assert same(watch.states[i - 1], watch.states[i]) == (i == step), i


FUSED = {"generator": partial(torch.optim.Adam, lr=1e-3, fused=True),
         "discriminator": partial(torch.optim.AdamW, lr=1e-4, fused=True)}  # fmt: skip


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Steps in this block are decided by the device, and the host reads their outcomes late."""
    return lambda: monkeypatch.setattr("lama.training.non_finite.readable", lambda flag: False)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    "recipe", [{}, {"second_generator_forward": False}, {"second_generator_forward": False, "accumulate": 2}],
    ids=["official", "modern", "accumulate"],
)  # fmt: skip
def test_a_device_that_decides_by_itself_ends_with_the_same_bits(where, recipe, as_on_a_gpu):
    """Without a read by the host: weights, optimisers, averages, statistics and the iterations of the faults."""
    ends = []
    for late in (False, True):
        if late:
            as_on_a_gpu()
        module, seen = make_module(ema_decay=0.9, **recipe), []
        module.make_optimizers = FUSED
        module.outcomes.report = lambda iteration, fault, seen=seen: seen.append((iteration, fault))
        optimizers = module.train().configure_optimizers()
        for step in range(6):
            poison(module, where, step + 1) if step in (0, 3) else None
            _, outcome = module.step(a_batch(step), *optimizers)
            module.outcomes.unread.append((step + 1, outcome))
            module.iteration += 1
        assert not seen
        module.outcomes.read()
        first = 2 if "accumulate" in recipe and "gradient" in where else 1  # a gradient is known with its update
        assert [iteration for iteration, fault in seen if fault] == [first, 4]
        ends.append((module.state_dict(), [optimizer.state_dict()["state"] for optimizer in optimizers], seen))
    assert same(*ends)


@pytest.mark.slow
@pytest.mark.parametrize("every_batches", [3])
def test_faults_that_are_read_late_are_counted_logged_and_resumed(every_batches, tmp_path, caplog, as_on_a_gpu):
    as_on_a_gpu()

    def run(epochs, folder, **settings):
        module = make_module(ema_decay=0.9)
        module.make_optimizers = FUSED
        poison(module, "discriminator loss", 2)
        run_into(folder, module, data=make_data(epoch_size=8), trainer={"max_epochs": epochs, "log_every_n_steps": 3},
                 checkpoints=partial(Checkpoints, every_batches=every_batches), **settings)  # fmt: skip
        return module

    whole = run(3, tmp_path / "whole")  # three epochs of four batches
    assert caplog.text.count("iteration 2 skipped, discriminator: loss nan") == 1
    assert callbacks.read_metrics(tmp_path / "whole/metrics.csv")["train_skipped"][1][-1] == 1.0
    run(1, tmp_path / "parts")
    resumed = run(3, tmp_path / "parts", resume="auto")
    assert same(state_of(whole), state_of(resumed))


def test_several_faults_that_are_read_late_go_back_to_the_last_good_checkpoint(tmp_path, caplog, as_on_a_gpu):
    as_on_a_gpu()
    module, _ = poisoned_run(
        tmp_path / "run", range(6, 11), faults=NonFiniteGuard(max_skipped=3), log_every_n_steps=5, optimizers=FUSED
    )
    assert "5 batches in a row" in caplog.text
    assert "weights and optimisers of iteration 4" in caplog.text
    assert [{int(s["step"]) for s in o.state.values()} for o in module.trainer.optimizers] == [{4 + 2}, {4 + 2}]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("second", [True, False], ids=["official", "modern"])
def test_a_step_that_is_not_finite_leaves_the_discriminator_trainable(where, second):
    module = make_module(second_generator_forward=second).train()
    poison(module, where, 1)
    assert module.step(a_batch(), *module.configure_optimizers())[1].fault()
    assert all(p.requires_grad for p in module.discriminator.parameters())


@pytest.mark.parametrize("second", [True, False], ids=["official", "modern"])
def test_images_that_are_not_finite_leave_batchnorm_alone(second):
    module = make_module(second_generator_forward=second)
    watch = Watch(module)
    broken = a_batch(2)
    broken["image"][0, 0, 3, 3] = float("nan")
    fit(module, [a_batch(0), broken, a_batch(1)])
    assert same(watch.states[1], watch.states[2])
    assert not same(watch.states[2], watch.states[3])
    assert all(torch.isfinite(t).all() for t in module.state_dict().values())


def test_a_skipped_step_is_counted_and_logged(tmp_path, caplog):
    module = make_module()
    poison(module, "discriminator loss", 7)
    run = run_into(tmp_path / "run", module, data=make_data(epoch_size=24))
    assert "iteration 7 skipped, discriminator: loss nan, gradient norm nan (1 so far, 1 in a row)" in caplog.text
    assert callbacks.read_metrics(run / "metrics.csv")["train_skipped"] == ([10], [1.0])


def poisoned_run(folder, steps, epochs=1, log_every_n_steps=10, optimizers=None, **settings):
    """A run, in which the losses of so many batches are nan; returns its module."""
    module = make_module()
    module.make_optimizers = optimizers or module.make_optimizers
    original = module.objective.generator_loss

    def loss(context):
        value, logs = original(context)
        return (value * float("nan") if int(module.iteration) + 1 in steps else value), logs

    module.objective.generator_loss = loss
    watch = Watch(module)
    run_into(
        folder, module, data=make_data(epoch_size=24),
        trainer={"max_epochs": epochs, "log_every_n_steps": log_every_n_steps},
        checkpoints=partial(Checkpoints, every_batches=4), **settings,
    )  # fmt: skip
    return module, watch


def test_several_skipped_in_a_row_go_back_to_the_last_good_checkpoint(tmp_path, caplog):
    module, watch = poisoned_run(tmp_path / "run", range(7, 10), faults=NonFiniteGuard(max_skipped=3))
    assert "weights and optimisers of iteration 4" in caplog.text
    assert int(module.iteration) == 12
    assert same(watch.states[6], watch.states[9])  # skipped
    assert not same(watch.states[9], watch.states[10])
    # The tenth batch was trained on with the weights after the fourth: no step of its optimisers is the seventh.
    counts = [{int(s["step"]) for s in o.state.values()} for o in module.trainer.optimizers]
    assert counts == [{4 + 3}, {4 + 3}]


def test_no_checkpoint_is_written_while_batches_are_skipped(tmp_path):
    poisoned_run(tmp_path / "run", range(8, 13), faults=NonFiniteGuard(max_skipped=9))
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["progress"]["iteration"] == 4


def test_a_training_that_never_recovers_ends_with_one_line_and_keeps_its_run(tmp_path):
    message = r"3 batches in a row .*faults\.max_returns=2 .*last\.ckpt"
    with pytest.raises(ValueError, match=message):
        poisoned_run(tmp_path / "run", range(7, 99), 4, faults=NonFiniteGuard(max_skipped=3, max_returns=2))
    assert (tmp_path / "run/metrics.csv").exists()


def test_a_training_that_never_begins_ends_with_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"2 batches in a row .* no checkpoint"):
        poisoned_run(tmp_path / "run", range(1, 99), faults=NonFiniteGuard(max_skipped=2))


def test_a_batch_without_known_pixels_is_trained_on():
    module = make_module()
    hole = a_batch(1)
    hole["mask"][:] = 1
    fit(module, [a_batch(0), hole, a_batch(2)])
    assert all(torch.isfinite(t).all() for t in module.state_dict().values())


@pytest.mark.parametrize(("name", "value"), [("max_skipped", 0), ("max_returns", -1)])
def test_settings_of_faults_are_checked(name, value):
    with pytest.raises(ValueError, match=rf"faults\.{name}.*{value}"):
        NonFiniteGuard(**{name: value})


def images(folder, count=40, damaged=(), size=48):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        path = folder / f"{i:03d}.png"
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(path)
        if i in damaged:
            path.write_bytes(path.read_bytes()[:100])
    return folder


class DeadlyFolder(ImageFolder):
    """A folder, one image of which kills the process that reads it, once."""

    deadly = "nothing"
    mark = ""

    def __getitem__(self, index):
        name, image = super().__getitem__(index)
        if name == self.deadly and not os.path.exists(self.mark):
            open(self.mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return name, image


def test_damaged_images_and_a_killed_worker(tmp_path, monkeypatch):
    """5 % of the images are damaged and the system kills a worker: the run reports it; the same command resumes it."""
    folder = images(tmp_path / "images", damaged=(7, 23))
    monkeypatch.setattr(DeadlyFolder, "deadly", "031")
    monkeypatch.setattr(DeadlyFolder, "mark", str(tmp_path / "mark"))

    def start(workers, path):
        data = InpaintingDataModule(
            DeadlyFolder, str(folder), BOXES, Distortions(32), BOXES, val_path=str(images(tmp_path / path, 2)),
            val_size=32, batch_size=2, num_workers=workers, cache_gb=0,
        )  # fmt: skip
        checkpoints = partial(Checkpoints, every_batches=1)
        run_into(tmp_path / "run", data=data, checkpoints=checkpoints, resume="auto")

    with pytest.raises(ValueError, match=r"data: a worker .* after iteration \d+, its latest image was .*031\.png"):
        start(1, "a")
    start(1, "b")
    run = tmp_path / "run"
    assert read_checkpoint(run / "checkpoints/last.ckpt")["progress"]["iteration"] == 20
    assert "2 of 40 images cannot be used and were replaced" in (run / "train.log").read_text()  # by both processes
    assert len((run / "broken_images.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_dead_worker_is_explained_whomever_its_signal_interrupts(tmp_path, wrapped):
    error: Exception = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    if wrapped:
        error, error.__cause__ = ValueError("you tried to log 3.07 which is currently not supported"), error
    message = r"data: a worker is killed by signal: Killed after iteration 0, .* was none"
    checkpoints = Checkpoints(tmp_path, "val_x", "max")
    with pytest.raises(ValueError, match=message), dead_workers_explained(make_data(), make_module(), checkpoints):
        raise error


def test_other_errors_are_not_taken_for_a_dead_worker(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        dead_workers_explained(make_data(), make_module(), Checkpoints(tmp_path, "val_x", "max")),
    ):
        raise ZeroDivisionError("x") from RuntimeError("y")


def test_a_full_disk_keeps_the_previous_checkpoint_and_the_training_continues(tmp_path, monkeypatch, caplog):
    save, calls = torch.save, []

    def full(content, file, **keywords):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("unexpected pos 832 vs 726") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, file, **keywords)

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(callbacks, "save_generator", lambda path, *_: Path("/dev/full").write_text("x" * 9999))
    module = make_module()
    data = make_data(epoch_size=12)
    run, keep = tmp_path / "run", partial(Checkpoints, every_batches=2)
    with pytest.raises(OSError, match=r"not written: models, checkpoints/last.ckpt, no space .* iteration 2"):
        run_into(run, module, data=data, checkpoints=keep)
    assert int(module.iteration) == 6
    assert read_checkpoint(run / "checkpoints/last.ckpt")["progress"]["iteration"] == 2
    assert caplog.text.count("not written, no space left on device") >= 3
    assert "checkpoints/iteration_0000006.ckpt, one of the best so far: not written either" in caplog.text
    assert not list((run / "checkpoints").glob("iteration_*"))
    assert not (run / "summary.json").exists()
    monkeypatch.undo()  # room has been made
    run_into(run, data=make_data(epoch_size=12), checkpoints=keep, resume="auto")
    assert read_checkpoint(run / "checkpoints/last.ckpt")["progress"]["iteration"] == 6
    assert (run / "models/last.safetensors").is_file()
    assert (run / "summary.json").is_file()


def test_weights_that_a_full_disk_has_cost_are_written_when_the_run_is_continued(tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as full:
        full.setattr(callbacks, "save_generator", lambda path, *_: Path("/dev/full").write_text("x" * 9999))
        with pytest.raises(OSError, match=r"trained to the end, but not written: models"):
            run_into(run)
    assert not (run / "models").exists()
    run_into(run, resume="auto")
    assert (run / "models/best.safetensors").is_file()


def test_other_errors_of_a_checkpoint_are_raised(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train(make_module(), make_data(), TRAINER, tmp_path / "run", "", "")


def test_workers_leave_signals_to_the_process_that_trains():
    from lama.data.datamodule import _leave_signals_alone

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _leave_signals_alone(0)
        assert {signal.getsignal(number) for number in before} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_handlers_are_put_back_after_a_training(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run_into(tmp_path / "run")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert isinstance(make_module(), InpaintingModule)


@pytest.mark.slow
def test_the_command_survives_damaged_images_and_a_killed_worker(tmp_path, root):
    folder = images(tmp_path / "images", damaged=(7, 23), size=80)
    images(tmp_path / "held out", 2, size=80)
    command = [
        sys.executable, str(root / "bin/train.py"), "-cn", "demo", "data=folder", f"data.path={folder}",
        f"data.val_path='{tmp_path}/held out'", "data.val_size=64", "augment.size=64", "data.batch_size=2",
        "data.epoch_size=null", "data.num_workers=1", "data.cache_gb=0", "generator.ngf=4", "generator.n_blocks=1",
        "discriminator.ndf=4", "trainer.max_epochs=30", f"run_dir={tmp_path}/run",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/checkpoints/last.ckpt").exists():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.1)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    (worker,) = [c for c in children if b"train.py" in Path(f"/proc/{c}/cmdline").read_bytes()]
    os.kill(int(worker), signal.SIGKILL)
    message = first.communicate(timeout=60)[1]
    assert first.returncode == 75  # a checkpoint has been written: try again
    said = r"error: data: a worker .* after iteration \d+, its latest image was .*png; .* the same command"
    assert re.search(said, message), message
    assert "Traceback" not in message
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["progress"]["iteration"] == 20 * 30
    log = (tmp_path / "run/train.log").read_text()
    assert "2 of 40 images cannot be used and were replaced" in log
    assert "resumed from" in log


def diverged_after(module, iteration):
    """Predictions of the validation are not finite from this iteration on."""
    original = module.complete

    def complete(*arguments):
        predicted, completed = original(*arguments)
        return predicted, completed * float("nan") if module.iteration > iteration else completed

    module.complete = complete
    return module


def test_a_diverged_validation_returns_to_the_last_checkpoint(tmp_path, caplog):
    module, guard = diverged_after(make_module(), 2), NonFiniteGuard(max_returns=3)
    run_into(tmp_path / "run", module, trainer={"max_epochs": 2}, faults=guard)
    assert guard.returns == 1
    assert "were not finite: returned to the weights" in caplog.text
    rows = (tmp_path / "run/metrics.csv").read_text().splitlines()
    scores = [row.rpartition(",")[2] for row in rows if "val_psnr_hole_total_mean" in row]
    assert scores[0] != "nan"
    assert scores[1:] == ["nan"]


def test_a_validation_that_diverges_at_once_names_the_learning_rate(tmp_path):
    with pytest.raises(ValueError, match=r"validation.*optimizers\.generator\.lr"):
        run_into(tmp_path / "run", diverged_after(make_module(), -1), faults=NonFiniteGuard(max_returns=0))

"""A training that is killed at any point and run again equals an uninterrupted one, bit for bit."""

import json
import multiprocessing
import os
import random
import re
import shlex
import shutil
import signal
import time
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from comparing import assert_equal, everything
from trainings import BOXES, COMMAND, TRAINER, make_data, make_module, run_into

from lama.data import Distortions, ImageFolder, InpaintingDataModule
from lama.pictures.images import write_image
from lama.runs import Checkpoints, callbacks, find_run, train
from lama.runs.checkpointing import newest_checkpoint, read_checkpoint
from lama.runs.config_changes import Request
from lama.training import InpaintingModule

EPOCHS, BATCHES = 3, 5
EVERY_BATCH = partial(Checkpoints, every_batches=2)


def a_run(folder, workers=0, before=None, **settings):
    """One start of the training; with ``before``, that is called first."""
    torch.set_num_threads(1)
    if before is not None:
        before()
    trainer = {"max_epochs": EPOCHS} | settings.pop("trainer", {})
    data = make_data(epoch_size=2 * BATCHES, batch_size=2, num_workers=workers, **settings.pop("data_settings", {}))
    settings = {"resume": "auto", "checkpoints": EVERY_BATCH} | settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "draw_curves", lambda *_: None)  # seconds, for nothing that is compared
        run_into(folder, make_module(ema_decay=0.9, cosine_lr=True), data=data, trainer=trainer, **settings)


def in_a_process(*arguments, **settings):
    """``a_run`` that can be killed; forked, since a new interpreter takes seconds for its imports."""
    process = multiprocessing.get_context("fork").Process(target=a_run, args=arguments, kwargs=settings)
    process.start()
    return process


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("never stopped") / "run"
    started = time.monotonic()
    process = in_a_process(folder, checkpoints=Checkpoints)
    process.join()
    assert process.exitcode == 0
    return everything(folder), time.monotonic() - started


def killed_at(call, nth):
    """A function that makes the process kill itself in the ``nth`` call of ``call`` of os or torch, before or after."""
    module, name, after = call

    def install():
        original, counted = getattr(module, name), []

        def dying(*arguments, **keywords):
            counted.append(1)
            if len(counted) == nth and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*arguments, **keywords)
            if len(counted) == nth and after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(module, name, dying)

    return install


def half_written(nth):
    """The process kills itself when half of a checkpoint is written."""

    def install():
        original, counted = torch.save, []

        def dying(content, file, **keywords):
            counted.append(1)
            original(content, file, **keywords)
            if len(counted) == nth:
                file.truncate(file.tell() // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        torch.save = dying

    return install


IN_A_CHECKPOINT = [
    half_written(1),
    half_written(3),
    killed_at((os, "fsync", False), 2),
    killed_at((os, "fsync", True), 2),
    killed_at((os, "link", False), 1),
    killed_at((os, "link", True), 1),
]


def finish(folder, workers=0, starts=1):
    for _ in range(starts):
        process = in_a_process(folder, workers)
        process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(("workers", "instant"), [(0, half_written(2)), (2, killed_at((os, "fsync", True), 5))])
def test_a_run_killed_in_a_checkpoint_equals_an_uninterrupted_one(tmp_path, never_stopped, workers, instant):
    process = in_a_process(tmp_path / "run", workers, instant)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finish(tmp_path / "run", workers)
    assert_equal(everything(tmp_path / "run"), never_stopped[0])
    assert not list((tmp_path / "run/checkpoints").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_run_killed_at_twenty_instants_equals_an_uninterrupted_one(tmp_path, never_stopped, workers):
    rng = random.Random(workers)
    folder = tmp_path / "run"
    for start, instant in enumerate([*IN_A_CHECKPOINT, *[None] * 14]):
        process = in_a_process(folder, workers, instant)
        if instant is None:  # any time at all, starting and validating included
            process.join(rng.uniform(0, 1.2 * never_stopped[1]))
            process.kill()
        process.join()
        if process.exitcode == 0:  # it was over: once more, elsewhere
            assert_equal(everything(folder), never_stopped[0])
            folder = tmp_path / f"run{start}"
    finish(folder, workers)
    assert_equal(everything(folder), never_stopped[0])


def signalled(method, iteration, number):
    """The process gets a signal in a method of the module, after so many batches."""

    def install():
        original = getattr(InpaintingModule, method)

        def wrapped(self, *arguments, **keywords):
            if int(self.iteration) == iteration:
                os.kill(os.getpid(), number)
            return original(self, *arguments, **keywords)

        setattr(InpaintingModule, method, wrapped)

    return install


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGUSR2, 75), (signal.SIGINT, 130)]
)  # SIGTERM: see below
def test_a_signal_stops_after_the_batch_with_a_checkpoint(tmp_path, never_stopped, number, code):
    process = in_a_process(tmp_path / "run", 1, signalled("step", 6, number), checkpoints=Checkpoints)
    process.join()
    assert process.exitcode == code
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["progress"]["iteration"] == 7
    name = signal.Signals(number).name
    assert f"stopped by {name} after iteration 7" in (tmp_path / "run/train.log").read_text()
    finish(tmp_path / "run", 1)
    assert_equal(everything(tmp_path / "run"), never_stopped[0])


def test_a_signal_during_validation_does_not_cost_the_validation(tmp_path, never_stopped):
    process = in_a_process(tmp_path / "run", 0, signalled("validation_step", BATCHES, signal.SIGTERM))
    process.join()
    assert process.exitcode == 75
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["progress"]["validation"] == "due"
    finish(tmp_path / "run")
    assert_equal(everything(tmp_path / "run"), never_stopped[0])


def test_a_second_ctrl_c_stops_at_once():
    from lama.runs.signals import Stopped, StopRequest

    request = StopRequest()
    request._note(signal.SIGINT, None)
    with pytest.raises(Stopped) as stopped:
        request._note(signal.SIGINT, None)
    assert stopped.value.code == 130


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """The files of a run with a last checkpoint and the one before it."""
    folder = tmp_path_factory.mktemp("two") / "run"
    a_run(folder, trainer={"max_epochs": 1})
    return folder


def test_a_checkpoint_truncated_at_every_sixteenth_is_noticed_and_the_one_before_used(two_checkpoints, tmp_path):
    whole = (two_checkpoints / "checkpoints/last.ckpt").read_bytes()
    before = (two_checkpoints / "checkpoints/previous.ckpt").read_bytes()
    (tmp_path / "previous.ckpt").write_bytes(before)
    for sixteenth in range(16):
        (tmp_path / "last.ckpt").write_bytes(whole[: len(whole) * sixteenth // 16])
        path, content, notes = newest_checkpoint(tmp_path)
        assert path == tmp_path / "previous.ckpt"
        assert content["progress"]["iteration"] == 4
        assert "last.ckpt: damaged" in notes[0]
        assert "previous.ckpt, iteration 4" in notes[1]
    changed = bytearray(whole)
    middle = slice(len(whole) // 2, len(whole) // 2 + 512)  # more than the padding between two tensors
    changed[middle] = bytes(255 - byte for byte in changed[middle])
    (tmp_path / "last.ckpt").write_bytes(changed)
    assert "checksum" in newest_checkpoint(tmp_path)[2][0]
    (tmp_path / "last.ckpt").write_bytes(whole)
    assert newest_checkpoint(tmp_path)[0] == tmp_path / "last.ckpt"


def test_a_run_with_two_damaged_checkpoints_is_not_replaced(tmp_path):
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / name).write_bytes(b"half")
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged.*previous\.ckpt: damaged.*overwrite=true"):
        newest_checkpoint(tmp_path)


def test_only_an_undamaged_iteration_is_recommended(two_checkpoints, tmp_path):
    for name in ("last.ckpt", "previous.ckpt", "iteration_0000009.ckpt"):
        (tmp_path / name).write_bytes(b"half")
    shutil.copy(two_checkpoints / "checkpoints/previous.ckpt", tmp_path / "iteration_0000004.ckpt")
    with pytest.raises(ValueError, match=r"resume=\S*iteration_0000004\.ckpt,"):
        newest_checkpoint(tmp_path)


CONFIG = "data: {batch_size: 2, num_workers: 0, path: a}\ntrainer: {max_epochs: 3}\nlosses: {hrf: {weights: null}}\n"


@pytest.fixture
def begun(two_checkpoints, tmp_path):
    """A copy of a run of one epoch."""
    folder = shutil.copytree(two_checkpoints, tmp_path / "run")
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def test_another_configuration_is_refused_with_the_keys_that_differ(begun):
    other = CONFIG.replace("path: a", "path: b") + "recipe: {clip_norm: 1}\n"
    expected = r"data\.path=a \(now: b\), recipe\.clip_norm=not set \(now: 1\)"
    with pytest.raises(ValueError, match=expected):
        find_run(begun, "auto", False, other)
    assert find_run(begun, "auto", True, other) is None
    notes = find_run(begun, str(begun / "checkpoints/last.ckpt"), False, other).notes
    assert "data.path=a (now: b)" in notes[0]


UPDATED = """
generator: {_target_: lama.models.Net, ngf: 4, new: false}
recipe: {clip_norm: 1.0, new_option: 3}
losses: {l1: {_target_: lama.losses.L1, weight: 1}}
resume: auto
"""
OLDER = """
generator: {_target_: lama.networks.Net, ngf: 4}
recipe: {clip_norm: 1.0, old_option: 2}
losses: {l1: {_target_: lama.losses.L1, weight: 1}}
resume: auto
"""


def rewritten(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def test_a_run_begun_before_an_update_of_the_code_is_resumed_to_the_bit(tmp_path, never_stopped):
    run = tmp_path / "run"
    process = in_a_process(run, 0, signalled("step", 6, signal.SIGTERM), config=UPDATED)
    process.join()
    assert process.exitcode == 75
    (run / "config.yaml").write_text(OLDER)

    def older(content):  # as written before pictures were called images
        content["progress"]["pictures"] = content["progress"].pop("images")
        for now, before in (("NonFiniteGuard", "Faults"), ("BrokenImages", "BrokenPictures")):
            content["callbacks"][before] = content["callbacks"].pop(now)

    rewritten(run / "checkpoints/last.ckpt", older)
    process = in_a_process(run, 0, config=UPDATED)
    process.join()
    assert process.exitcode == 0
    log = (run / "train.log").read_text()
    assert re.search(r"recipe\.new_option=not set \(now: 3\), recipe\.old_option=2 \(now: not set\)", log)
    assert_equal(everything(run), never_stopped[0])


@pytest.mark.parametrize(
    ("config", "arguments", "named"),
    [
        (UPDATED.replace("new_option: 3", "new_option: 4"), ["recipe.new_option=4"], "recipe.new_option=not set .*4"),
        (UPDATED.replace("clip_norm: 1.0", "clip_norm: 2.0"), [], "recipe.clip_norm=1.0 .*2.0"),
        (UPDATED.replace("models.Net", "models.Other"), [], "generator._target_=lama.networks.Net .*lama.models.Other"),
        (UPDATED, ["recipe=modern"], "recipe.new_option=not set .*recipe.old_option=2"),
        (UPDATED, ["-cn", "big-lama"], "recipe.new_option=not set"),
        (UPDATED.replace("1}}", "1}, l2: {_target_: lama.losses.L2}}"), [], "losses.l2._target_=not set"),
        (UPDATED.replace("losses: {l1", "losses: {gone"), ["losses=other"], "losses.l1._target_=lama.losses.L1"),
        (UPDATED.replace("clip_norm: 1.0", "clip_norm: {now: 1}"), [], "recipe.clip_norm.now=not set"),
    ],
)
def test_a_key_whose_value_changes_something_is_refused_by_name(begun, config, arguments, named):
    (begun / "config.yaml").write_text(OLDER)
    assert find_run(begun, "auto", False, UPDATED, COMMAND) is not None
    with pytest.raises(ValueError, match=named.replace(".", r"\.").replace(r"\.*", ".*")):
        find_run(begun, "auto", False, config, shlex.join([*COMMAND.split(), *arguments]))


def test_without_the_command_of_a_run_a_new_key_is_refused(begun):
    (begun / "config.yaml").write_text(OLDER)
    (begun / "next_steps.txt").unlink()
    with pytest.raises(ValueError, match=r"recipe\.new_option=not set \(now: 3\)"):
        find_run(begun, "auto", False, UPDATED, COMMAND)


def test_the_command_of_a_run_is_in_its_config(begun, two_checkpoints):
    assert (two_checkpoints / "config.yaml").read_text().startswith(f"# command: {COMMAND}\n")
    (begun / "config.yaml").write_text(Request(OLDER, COMMAND + " 'a=\nb: 1'").text())
    assert yaml.safe_load((begun / "config.yaml").read_text()) == yaml.safe_load(OLDER)
    (begun / "config.yaml").write_text(Request(OLDER, COMMAND).text())
    assert Request.of_run(begun).command == COMMAND
    (begun / "next_steps.txt").write_text("# edited\nlama train -cn other\n")
    assert "recipe.new_option=not set (now: 3)" in find_run(begun, "auto", False, UPDATED, COMMAND).notes[0]
    with pytest.raises(ValueError, match=r"recipe\.new_option=not set \(now: 3\)"):
        find_run(begun, "auto", False, UPDATED, f"{COMMAND} recipe=modern")


def test_a_run_without_its_config_is_continued_with_one_warning(begun):
    (begun / "config.yaml").unlink()
    (warning,) = find_run(begun, "auto", False, CONFIG, COMMAND).notes
    assert re.search(rf"run_dir={begun}: config\.yaml is missing", warning)


def test_harmless_keys_may_differ(begun):
    other = CONFIG.replace("num_workers: 0", "num_workers: 3").replace("max_epochs: 3", "max_epochs: 9")
    other = other.replace("weights: null", "weights: here.pth") + "checkpoint: {every_batches: 7}\n"
    assert find_run(begun, "auto", False, other).progress.iteration == BATCHES


def test_a_finished_run_explains_how_to_train_longer(begun):
    found = find_run(begun, "auto", False, CONFIG)
    assert found.finished(1)
    assert not found.finished(2)
    assert found.all_done() == f"{begun}: has trained all of its 1 epochs; train on with trainer.max_epochs=2, say"


def test_a_run_killed_between_its_last_checkpoint_and_its_end_is_ended(begun):
    (begun / "summary.json").unlink()
    found = find_run(begun, "auto", False, CONFIG)
    assert not found.finished(1)
    module = make_module(ema_decay=0.9, cosine_lr=True)
    train(module, make_data(epoch_size=10, batch_size=2), TRAINER, begun, CONFIG, "", resume=found)
    assert int(module.iteration) == BATCHES
    assert json.loads((begun / "summary.json").read_text())["iterations"] == BATCHES


def test_a_signal_in_the_last_batch_of_all_ends_the_run_as_usual(tmp_path):
    process = in_a_process(tmp_path / "run", 0, signalled("validation_step", BATCHES - 1, signal.SIGTERM),
                           trainer={"max_epochs": 1, "limit_train_batches": BATCHES - 1})  # fmt: skip
    process.join()
    assert process.exitcode == 75  # in the validation: it is still to be done
    process = in_a_process(tmp_path / "run", 0, signalled("on_train_epoch_end", BATCHES - 1, signal.SIGTERM),
                           trainer={"max_epochs": 1, "limit_train_batches": BATCHES - 1})  # fmt: skip
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "run/summary.json").is_file()


def test_a_run_without_a_checkpoint_yet_begins_anew(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text("other: 1")
    (tmp_path / "run/metrics.csv").write_text("iteration,name,value\n3,train_l1,9\n4,tra")
    assert find_run(tmp_path / "run", "auto", False, CONFIG) is None
    (tmp_path / "run/models").mkdir()  # a run was overwritten, and killed before its first checkpoint: chaos seed 1014
    assert find_run(tmp_path / "run", "auto", False, CONFIG) is None
    (tmp_path / "run/models/last.safetensors").touch()  # the checkpoints were removed, the weights not
    with pytest.raises(FileExistsError, match="run_dir="):
        find_run(tmp_path / "run", "auto", False, CONFIG)


def test_a_checkpoint_of_another_run_is_not_continued_over_this_one(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "other")
    with pytest.raises(FileExistsError, match=r"run_dir=.*resume="):
        find_run(begun, str(tmp_path / "other/checkpoints/last.ckpt"), False, CONFIG)
    assert find_run(tmp_path / "new", str(begun / "checkpoints/last.ckpt"), False, CONFIG) is not None


def test_another_batch_size_gives_a_warning_and_begins_the_epoch_again(begun):
    (begun / "checkpoints/last.ckpt").unlink()  # the one before it is of the epoch's middle, iteration 4
    found = find_run(begun, "auto", False, CONFIG)
    module = make_module(ema_decay=0.9, cosine_lr=True)
    train(module, make_data(epoch_size=10, batch_size=5), TRAINER, begun, CONFIG, "", resume=found)
    log = (begun / "train.log").read_text()
    assert "RESUMED WITH batch size 5 instead of 2" in log
    assert "epoch 1 begins again" in log
    assert int(module.iteration) == 4 + 2


def test_best_states_are_kept_and_the_others_removed(tmp_path):
    a_run(tmp_path / "run", checkpoints=partial(Checkpoints, keep_best=2), monitor="val_psnr_hole_total_mean")
    values = callbacks.read_metrics(tmp_path / "run/metrics.csv")["val_psnr_hole_total_mean"]
    best = sorted(zip(values[1], values[0], strict=True), reverse=True)[:2]
    kept = sorted((tmp_path / "run/checkpoints").glob("iteration_*.ckpt"))
    assert [path.name for path in kept] == sorted(f"iteration_{iteration:07d}.ckpt" for _, iteration in best)
    for path in kept:
        assert read_checkpoint(path)["progress"]["iteration"] == int(path.stem.split("_")[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_batches": 0}, "checkpoint.every_batches.*0"),
        ({"every_minutes": 0}, "checkpoint.every_minutes.*0"),
        ({"keep_best": -1}, "checkpoint.keep_best.*-1"),
    ],
)
def test_settings_of_checkpoints_are_checked(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, "val_ssim_total_mean", "max", **settings)


class Enough(Exception):  # noqa: N818
    """Ends a training in a test."""


def test_validations_in_the_middle_of_an_epoch_resume_too(tmp_path):
    often = {"max_epochs": 2, "val_check_interval": 2}
    a_run(tmp_path / "whole", trainer=often)
    whole = everything(tmp_path / "whole")
    for iteration in (2, 3):

        def stop(self, trainer, module, *_, at=iteration, **__):
            if int(module.iteration) == at:
                raise Enough

        folder = tmp_path / f"stopped{iteration}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoints, "on_train_batch_start", stop)
            with pytest.raises(Enough):
                a_run(folder, trainer=often, checkpoints=partial(Checkpoints, every_batches=1))
        a_run(folder, trainer=often)
        assert_equal(everything(folder), whole)


def test_data_that_have_moved_are_the_same_data(tmp_path):
    """A run goes on with the same files elsewhere; with other files it is refused, unless resume= names it."""
    pictures = tmp_path / "a"
    pictures.mkdir()
    for number in range(4):
        write_image(pictures / f"{number}.png", np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8))

    def start(folder, epochs, resume="auto"):
        config = f"data: {{path: {folder}}}\ntrainer: {{max_epochs: {epochs}}}\n"
        data = InpaintingDataModule(ImageFolder, str(folder), BOXES, Distortions(32), BOXES, batch_size=2, val_size=32,
                                    num_workers=0)  # fmt: skip
        run_into(tmp_path / "run", data=data, config=config, resume=resume, trainer={"max_epochs": epochs})
        return read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["progress"]["epoch"]

    assert start(pictures, 1) == 1
    moved = pictures.rename(tmp_path / "b")
    assert start(moved, 2) == 2
    (moved / "1.png").write_bytes((moved / "2.png").read_bytes() + b" ")
    with pytest.raises(ValueError, match=rf"data\.path=.*resume={tmp_path / 'run'}"):
        start(moved.rename(tmp_path / "c"), 3)
    assert start(tmp_path / "c", 3, resume=str(tmp_path / "run")) == 3

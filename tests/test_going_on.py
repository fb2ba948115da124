"""Resume a run with other rates, epochs or batch sizes, or from another folder."""

import logging
import math
import multiprocessing
import re
import shutil
import signal
import subprocess
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from trainings import TRAINER, make_data, make_module, run_into

from lama.runs import find_run
from lama.runs.callbacks import read_metrics
from lama.runs.checkpointing import Checkpoints
from lama.runs.plain_progress import PlainProgress
from lama.runs.processes import RankWatcher, dead_workers_explained
from lama.runs.run import next_steps, train
from lama.training.learning_rates import LearningRates

BATCHES = 10  # of 2 images: an epoch
CONFIG = "generator: {ngf: 4}\noptimizers: {generator: {_target_: torch.optim.Adam, lr: 0.001}}\nresume: auto\n"
RATE = 1e-3


@pytest.fixture(scope="session")
def one_epoch_of(tmp_path_factory):
    """A run of one of two epochs on a cosine, made once."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    stop = partial(Checkpoints, every_batches=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_epoch_end", ends_here(Checkpoints.on_train_epoch_end))
        with pytest.raises(ZeroDivisionError):
            a_run(folder, epochs=2, checkpoints=stop)
    return folder


@pytest.fixture
def begun(one_epoch_of, tmp_path):
    return shutil.copytree(one_epoch_of, tmp_path / "run")


def ends_here(method):
    def ending(*arguments, **keywords):
        method(*arguments, **keywords)
        raise ZeroDivisionError

    return ending


def a_run(folder, epochs=2, batch_size=2, rate=RATE, cosine=True, config=CONFIG, **settings):
    module = make_module(cosine_lr=cosine)
    module.make_optimizers = {name: partial(torch.optim.Adam, lr=rate) for name in module.make_optimizers}
    data = make_data(epoch_size=2 * BATCHES, batch_size=batch_size)
    found = settings.pop("found", None) or find_run(folder, "auto", False, config)
    train(
        module, data, TRAINER | {"max_epochs": epochs}, folder, config, "python bin/train.py", resume=found, **settings
    )
    return module


def rates(folder):
    """{iteration: learning rate of the generator}"""
    return dict(zip(*read_metrics(folder / "metrics.csv")["train_gen_lr"], strict=True))


def cosine(done):
    return RATE * 0.5 * (1 + math.cos(math.pi * done))


def test_the_cosine_falls_from_the_rate_to_zero_over_the_training(begun):
    a_run(begun)
    # every tenth batch is logged, with the rate that its step had
    assert rates(begun) == pytest.approx({10: cosine(9 / 20), 20: cosine(19 / 20)}, rel=1e-4)
    assert "learning rates" not in (begun / "train.log").read_text()


def test_with_another_batch_size_the_cosine_still_ends_at_zero(begun):
    (begun / "checkpoints/last.ckpt").rename(begun / "checkpoints/previous.ckpt")
    a_run(begun, batch_size=1)  # 20 batches are left
    assert rates(begun)[30] == pytest.approx(cosine(39 / 40), rel=1e-4)
    assert re.search(r"resumed from .*: iteration 10, epoch 2, batch 1 of 20", (begun / "train.log").read_text())


def test_more_epochs_raise_the_rate_with_a_warning(begun):
    a_run(begun, epochs=4)
    assert rates(begun)[20] == pytest.approx(cosine(19 / 40), rel=1e-4)
    log = (begun / "train.log").read_text()
    assert re.search(
        r"learning rates: generator 0\.000854 instead of 0\.000578, discriminator .* at the checkpoint", log
    )


def test_the_configurations_rate_is_used_and_not_the_checkpoints(begun, tmp_path):
    module = a_run(begun, rate=RATE / 10, cosine=False)
    assert rates(begun)[20] == pytest.approx(RATE / 10)
    assert "learning rates: generator 0.0001 instead of 0.000578" in (begun / "train.log").read_text()
    assert module.optimizers()[0].param_groups[0]["lr"] == RATE / 10


def test_other_settings_of_an_optimiser_are_the_configurations_too():
    parameter = torch.nn.Parameter(torch.zeros(1))
    before, now = (torch.optim.Adam([parameter], lr=RATE, betas=(beta, 0.9)) for beta in (0.1, 0.5))
    learning_rates = LearningRates([now, now], cosine=False)
    now.load_state_dict(before.state_dict())
    assert now.param_groups[0]["betas"] == (0.1, 0.9)
    assert learning_rates.go_on(0.5, 0.1) is None
    assert now.param_groups[0]["betas"] == (0.5, 0.9)


def test_a_run_may_be_continued_by_its_folder(begun, tmp_path):
    assert find_run(tmp_path / "new", str(begun), False, CONFIG).path == begun / "checkpoints/last.ckpt"
    with pytest.raises(FileNotFoundError, match=r"resume=.*: a folder without checkpoints/last\.ckpt; expected auto"):
        find_run(tmp_path / "new", str(tmp_path), False, CONFIG)


def test_what_cannot_be_continued_is_named(begun, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"resume=atuo: no such checkpoint; did you mean auto\?"):
        find_run(tmp_path / "new", "atuo", False, CONFIG)
    weights = str(begun / "models/last.safetensors")
    with pytest.raises(ValueError, match=r"resume=.*: weights for inference; expected .*; init_from= starts"):
        find_run(tmp_path / "new", weights, False, CONFIG)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"run_dir=.*file: is a file; expected a folder"):
        find_run(tmp_path / "file", "auto", False, CONFIG)


def test_a_run_begun_from_a_checkpoint_is_resumed_by_the_same_command(begun, tmp_path):
    new, source = tmp_path / "new", str(begun / "checkpoints/last.ckpt")
    config = CONFIG.replace("auto", source)
    first = find_run(new, source, False, config)
    assert first.path == begun / "checkpoints/last.ckpt"
    a_run(new, found=first, config=config)
    assert find_run(new, source, False, config).path == new / "checkpoints/last.ckpt"
    assert find_run(new, source, False, config).progress.iteration == 20


def test_networks_that_do_not_fit_are_one_line_and_leave_nothing(begun, tmp_path):
    found = find_run(tmp_path / "new", str(begun), False, CONFIG)
    module = make_module()
    module.discriminator = torch.nn.Conv2d(3, 1, 1)
    message = r"resume=.*last\.ckpt: .*\(.* more\); .*generator= and discriminator="
    with pytest.raises(ValueError, match=message) as caught:
        train(module, make_data(epoch_size=20), TRAINER, tmp_path / "new", CONFIG, "", resume=found)
    assert len(str(caught.value)) < 600
    assert not (tmp_path / "new").exists()


def test_an_optimiser_of_another_kind_is_refused(begun, tmp_path):
    other = CONFIG.replace("optim.Adam", "optim.SGD")
    with pytest.raises(ValueError, match=r"begun with optimizers\.generator\._target_=torch\.optim\.Adam \(now: torch"):
        find_run(tmp_path / "new", str(begun), False, other)


def test_a_folder_with_other_things_is_not_overwritten(tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday/beach.jpg").write_text("")
    with pytest.raises(ValueError, match=r"overwrite=true run_dir=.*: holds no training run but other files"):
        find_run(tmp_path / "holiday", "auto", True, CONFIG)


def test_a_key_that_is_filled_in_from_another_is_named_once(begun):
    begun.joinpath("config.yaml").write_text("seed: 0\ndata: {seed: 0}\n")
    with pytest.raises(ValueError, match=r"begun with seed=0 \(now: 1\); continue"):
        find_run(begun, "auto", False, "seed: 1\ndata: {seed: 1}\n")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"log_every_n_steps": 0}, r"trainer\.log_every_n_steps: expected a whole number of at least 1, got 0"),
        ({"max_epochs": 0}, r"trainer\.max_epochs: expected"),
    ],
)
def test_odd_settings_of_the_trainer_are_refused(tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        run_into(tmp_path / "run", trainer=overrides)
    assert not (tmp_path / "run").exists()


def test_the_key_of_an_invalid_rate_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"optimizers\.generator: Invalid learning rate: -1"):
        a_run(tmp_path / "run", rate=-1)
    with pytest.raises(ValueError, match=r"recipe\.clip_norm: expected more than 0"):
        make_module(clip_norm=0)


def test_next_steps_of_a_short_training_lead_to_the_whole():
    command = "python bin/train.py -cn demo debug=limit debug.batches=3 resume=b run_dir=r"
    lines = next_steps("runs/x", command, 1, debug=True).splitlines()
    assert lines[:4] == ["# tried by", command, "# train it", "python bin/train.py -cn demo run_dir=r"]
    lines = next_steps("runs/x", command.replace("debug=limit debug.batches=3 ", ""), 3).splitlines()
    assert lines[3] == "python bin/train.py -cn demo run_dir=r trainer.max_epochs=6"


def test_without_a_terminal_progress_is_logged(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("lama.runs.run.PlainProgress", partial(PlainProgress, seconds=0))
    with caplog.at_level(logging.INFO):
        run_into(
            tmp_path / "run",
            data=make_data(epoch_size=4, batch_size=2),
            trainer={"max_epochs": 2, "enable_progress_bar": None},
        )
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert len(lines) == 4
    shape = r"epoch 2 of 2, batch 1 of 2: generator \d\S*, discriminator \d\S*; \S+ images a second, \d+ seconds to go"
    assert re.fullmatch(shape, lines[2])


@pytest.mark.parametrize("killed", [True, False])
def test_a_worker_that_dies_while_it_hands_over_a_batch_is_named(killed):
    """The connection breaks before PyTorch notices; a connection that breaks beside living workers is another error."""
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0 if killed else 60,))
    worker.start()
    if killed:
        worker.join()
    at_work = torch.tensor([[worker.pid, 32], [0, 0]])
    data = SimpleNamespace(train_set=SimpleNamespace(at_work=at_work, name=lambda index: f"image{index}"))
    checkpoints = SimpleNamespace(interrupted=ValueError)
    module = SimpleNamespace(iteration=torch.tensor(7))
    expected = (ValueError, "killed after iteration 7, .* image31") if killed else (ConnectionResetError, "reset")
    try:
        with pytest.raises(expected[0], match=expected[1]), dead_workers_explained(data, module, checkpoints):
            raise ConnectionResetError("reset by peer")
    finally:
        worker.kill()


@pytest.mark.parametrize(("command", "killed", "said"), [
    ("kill -9 $$", True, "rank 1 was killed by SIGKILL"), ("exit 2", False, "rank 1 has ended with 2"),
])  # fmt: skip
def test_a_process_that_dies_ends_the_others(command, killed, said):
    dying = subprocess.Popen(["sh", "-c", command])
    waiting = subprocess.Popen(["sleep", "60"])
    launcher = SimpleNamespace(procs=[dying, waiting])
    watch = RankWatcher(SimpleNamespace(strategy=SimpleNamespace(launcher=launcher), world_size=2))
    watch.start()
    assert watch.found.wait(5)
    assert (watch.dead.killed, str(watch.dead)) == (killed, said)
    assert waiting.wait(5) == -signal.SIGKILL
    time.sleep(0.1)
    assert launcher.procs == []  # or Lightning would kill this process
    watch.stop.set()
    watch.join(5)
    assert not watch.is_alive()


def test_the_table_has_a_row_for_every_so_many_batches(tmp_path):
    run = run_into(tmp_path / "run", data=make_data(epoch_size=12, batch_size=2), trainer={"log_every_n_steps": 3})
    assert read_metrics(run / "metrics.csv")["train_gen_total"][0] == [3, 6]
    assert read_metrics(run / "speed.csv")["speed_data_wait"][0] == [3, 6]

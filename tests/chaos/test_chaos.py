"""A few faults in the default suite, ``make chaos`` in the slow one; and each mended break as a quick test."""

import errno
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from trainings import BOXES, fit, make_data, make_module, run_into

from lama.checkpoints import save_generator
from lama.data import Distortions, InpaintingDataModule, datamodule
from lama.data.cache import DecodedCache
from lama.data.sources import ImageFolder
from lama.files import causes, failed_disk, survives_a_full_disk
from lama.machine.orphans import end_with
from lama.runs import Checkpoints, callbacks
from lama.runs.checkpointing import CheckpointFiles, newest_checkpoint, read_checkpoint
from lama.runs.log_file import LogFile
from lama.runs.loggers import TensorBoard
from lama.runs.same_images import SameImages

HERE = Path(__file__).resolve().parent
NEEDED = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="the shim needs Linux and gcc"
)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """They take seconds, for a file that is not compared."""
    monkeypatch.setattr(callbacks, "draw_curves", lambda *_: None)


def chaos(folder, *arguments, timeout):
    """Run it; returns its exit code, its summary and its output."""
    command = [sys.executable, str(HERE / "chaos.py"), "--out", str(folder), *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "LAMA_WEIGHTS"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
    assert (folder / "report.json").is_file(), done.stderr
    return done.returncode, json.loads((folder / "report.json").read_text()), done.stdout


@NEEDED
@pytest.mark.slow
def test_a_few_faults(tmp_path):
    code, summary, said = chaos(
        tmp_path, "--faults", "3", "--first", "4000", "--real", "0", "--processes", "1", timeout=300
    )
    assert code == 0, said
    assert summary["passed"] == summary["faults"] >= 2
    assert summary["verdicts"].keys() <= {"equal", "named"}
    assert "<table>" in (tmp_path / "report.html").read_text()


@NEEDED
@pytest.mark.slow
def test_a_thousand_faults(tmp_path):
    code, summary, said = chaos(tmp_path, timeout=4 * 3600)
    assert code == 0, said
    assert summary["passed"] == summary["faults"] >= 1000


@NEEDED
def test_a_broken_training_is_reported(tmp_path):
    """Seed by seed: a command that ends with a traceback is no pass."""
    sys.path.insert(0, str(HERE))
    from life import Fault, Life
    from starts import Ended

    life = Life(1, tmp_path, 1, None, 1000.0)
    traceback = Ended([1], "Traceback (most recent call last):\nValueError: x", False, True, False, 1.0, 1.0)
    assert life.judged(Fault("full disk", ""), traceback).broken.startswith("Traceback")
    silent = Ended([2], "hello", False, True, False, 1.0, 1.0)
    assert "without a reason" in life.judged(Fault("full disk", ""), silent).broken
    killed = Ended([-9], "", False, True, False, 1.0, 1.0)
    assert life.judged(Fault("full disk", ""), killed).broken
    assert life.judged(Fault("killed", ""), killed, deadly=True).outcome == "killed"
    named = Ended([2], "error: run_dir=x: no space left on device", False, True, False, 1.0, 1.0)
    assert life.judged(Fault("full disk", ""), named).outcome == "ended with one line"
    import report

    life.faults, life.verdict = [Fault("full disk", "x", broken="hangs")], ""
    summary = report.summarise([life.record()], 1.0, [])
    assert (summary["passed"], summary["faults"]) == (0, 1)
    assert "--seed 1" in report.text(summary, tmp_path)
    assert "hangs" in report.page(summary)


def test_an_error_that_is_its_own_cause_ends_the_search():
    """Seed 6: TensorBoard's thread raises one error again and again, and the search for a dead worker never ended."""
    first, second = OSError(errno.ENOSPC, "full"), ValueError("not supported")
    first.__context__, second.__context__ = second, first
    assert list(causes(first)) == [first, second]
    assert failed_disk(second) is first


class Disk:
    """Fails while ``full``."""

    def __init__(self, number=errno.ENOSPC):
        self.full, self.number, self.written = True, number, 0

    @survives_a_full_disk("table")
    def write(self):
        if self.full:
            raise ValueError("wrapped") from OSError(self.number, os.strerror(self.number))
        self.written += 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_costs_a_file_and_not_the_training(number, caplog):
    """Seeds 0 and 3: a disk with errors ended a training with a traceback."""
    disk = Disk(number)
    disk.write()
    assert disk.lost == {"table": os.strerror(number).lower()}
    assert "table: not written" in caplog.text
    disk.full = False
    disk.write()
    assert (disk.lost, disk.written) == ({}, 1)


def test_rows_that_a_full_disk_refuses_are_written_later(tmp_path, monkeypatch):
    """The table then equals that of an undisturbed training. Its rows are sorted: a start that skips its first batch
    logs in another order, and so did a resumed one (seed 9)."""
    keep = partial(Checkpoints, every_batches=2)
    settings = {"trainer": {"log_every_n_steps": 1, "max_epochs": 1}, "checkpoints": keep}
    whole = run_into(tmp_path / "whole", data=make_data(epoch_size=12), **settings)
    names = [line.split(",")[1] for line in (whole / "metrics.csv").read_text().splitlines() if line.startswith("1,")]
    assert names == sorted(names)
    assert len(names) > 8
    table, original, calls = callbacks.MetricsTable, callbacks.MetricsTable._write.__wrapped__, []

    @survives_a_full_disk("metrics.csv")
    def full_for_a_while(self):
        calls.append(1)
        if 2 <= len(calls) <= 4:
            with self.path.open("a") as file:
                file.write(self.unwritten[: len(self.unwritten) // 2])  # half a row
            raise OSError(errno.ENOSPC, "full")
        if len(calls) == 5:
            state = self.state_dict()
            assert state["unwritten"].count("gen_total") == 4
            again = table(self.path.parent)
            again.load_state_dict(state)
            assert (again.length, again.unwritten) == (state["length"], state["unwritten"])
        original(self)

    monkeypatch.setattr(table, "_write", full_for_a_while)
    run = run_into(tmp_path / "run", data=make_data(epoch_size=12), **settings)
    assert len(calls) > 5
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


def test_a_run_that_is_resumed_at_its_very_end_keeps_its_rates(tmp_path):
    """Seed 2: the last checkpoint was damaged, the one before it had nothing left to train."""
    whole = run_into(tmp_path / "run", make_module(cosine_lr=True), data=make_data(epoch_size=8)) / "checkpoints"
    rates = [o["param_groups"][0]["lr"] for o in read_checkpoint(whole / "last.ckpt")["optimizer_states"]]
    (whole / "last.ckpt").write_bytes(b"")
    (tmp_path / "run/summary.json").unlink()
    assert newest_checkpoint(whole)[0].name == "previous.ckpt"
    run_into(tmp_path / "run", make_module(cosine_lr=True), data=make_data(epoch_size=8), resume="auto")
    again = [o["param_groups"][0]["lr"] for o in read_checkpoint(whole / "last.ckpt")["optimizer_states"]]
    assert again == rates
    assert min(rates) > 0


def test_a_write_of_weights_that_is_killed_leaves_a_file_that_the_next_start_removes(tmp_path, tiny_generator):
    """Seed 1: safetensors left a file of a name of its own."""
    seen = []

    def kill(folder):
        original = os.chmod

        def dying(path, mode):
            seen.append(path)
            os.kill(os.getpid(), signal.SIGKILL)
            original(path, mode)

        os.chmod = dying
        save_generator(folder / "last.safetensors", tiny_generator)

    process = multiprocessing.get_context("fork").Process(target=kill, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".partial-")
    with safe_open(left, "pt") as content:  # it was whole
        assert content.keys()


def test_the_log_file_of_a_full_disk_says_nothing(capsys):
    """A line that the disk refuses was a traceback in the terminal."""
    own = logging.getLogger("test of a log file")
    handler = LogFile("/dev/full")
    own.addHandler(handler)
    own.warning("x" * 9999)
    own.removeHandler(handler)
    handler.close()
    assert "Traceback" not in capsys.readouterr().err


def test_tensorboard_begins_another_file_after_a_full_disk(tmp_path, caplog, capsys):
    """Seed 6: its thread ended with a traceback, and the training with it."""
    board = TensorBoard(tmp_path, 5)
    board.log_metrics({"a": 1.0}, 1)
    board.save()
    worker = board.experiment.file_writer.event_writer._async_writer
    worker._writer._writer.write = lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full"))
    for step in range(2, 5):
        board.log_metrics({"a": 2.0}, step)
        board.save()
        time.sleep(0.05)
    assert "tensorboard: not written" in caplog.text
    board.log_metrics({"a": 3.0}, 9)
    board.finalize("success")
    assert not threading.excepthook(threading.ExceptHookArgs((OSError, OSError(errno.ENOSPC, "full"), None, None)))
    assert "Traceback" not in capsys.readouterr().err
    assert len(list((tmp_path / "tensorboard").glob("events*"))) == 2


def _a_parent(pipe):
    def wait():
        end_with(os.getppid())
        pipe.send(os.getpid())
        time.sleep(60)

    child = multiprocessing.get_context("fork").Process(target=wait)
    child.start()
    child.join()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_a_worker_ends_with_the_training_that_was_killed():
    """Seed 211: a worker was killed in the middle of a batch, then the training; other workers stayed for ever."""
    here, there = multiprocessing.Pipe()
    parent = multiprocessing.get_context("fork").Process(target=_a_parent, args=(there,))
    parent.start()
    child = here.recv()
    parent.kill()
    parent.join()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "\nState:\tZ" in Path(f"/proc/{child}/status").read_text():
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child has outlived its parent")


def test_images_that_change_during_a_training_are_noticed(caplog):
    """Seed 11: a picture was replaced while the training read it; nothing said so."""
    sizes = iter(["before", "before", "after", "after"])

    class Data:
        fingerprint = "before"

        def fingerprint_now(self):
            return next(sizes)

    class Trainer:
        is_global_zero = True

    noticed = SameImages(Data())
    noticed.on_train_epoch_end(Trainer(), None)
    assert "changed" not in caplog.text
    for _ in range(2):
        noticed.on_train_epoch_end(Trainer(), None)
    assert caplog.text.count("image files have changed") == 1


def test_an_image_that_changes_while_the_first_ones_are_read_is_noticed(tmp_path, monkeypatch):
    """Seed 15: the cache read the old image, and the names and sizes to compare with were noted after that."""
    for name in "abc":
        Image.new("RGB", (40, 40)).save(tmp_path / f"{name}.png")

    class Cache(DecodedCache):
        def __init__(self, source, spare):
            super().__init__(source, spare)
            (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes() + b" ")

    monkeypatch.setattr(datamodule, "DecodedCache", Cache)
    data = InpaintingDataModule(ImageFolder, str(tmp_path), BOXES, Distortions(32), BOXES, val_size=32)
    assert data.fingerprint != data.fingerprint_now()


@pytest.mark.parametrize(("error", "shown"), [(ConnectionResetError(104, "reset"), False), (ValueError("x"), True)])
def test_a_worker_that_the_training_hangs_up_on_says_nothing(error, shown, capsys, monkeypatch):
    """Seed 21: one worker was killed, and a thread of another printed a traceback about the broken connection."""
    for name in ("end_with", "_leave_signals_alone"):
        monkeypatch.setattr(datamodule, name, lambda _: None)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    datamodule._begin_worker(os.getpid(), 0)
    sys.excepthook(type(error), error, None)
    assert bool(capsys.readouterr().err) == shown


def test_the_first_step_of_a_resumed_run_has_its_rate():
    """The rates at the start are the latest ones; a step sets its own."""
    module = make_module(cosine_lr=True)
    batches = [{"image": torch.rand(2, 3, 32, 32), "mask": torch.ones(2, 1, 32, 32)} for _ in range(2)]
    fit(module, batches)
    assert module.optimizers()[0].param_groups[0]["lr"] == pytest.approx(0.5 * 1e-3)


def test_a_training_whose_folder_is_moved_ends_with_one_line(tmp_path):
    """Or it would begin a second run at the old place, beside the one that continues at the new place."""
    run, moved, files = tmp_path / "run", tmp_path / "moved", CheckpointFiles()
    run.mkdir()
    (run / ".lock").touch()
    for _ in range(2):
        files.save_checkpoint({"a": 1}, run / "checkpoints/last.ckpt")
    run.rename(moved)
    with pytest.raises(ValueError, match=rf"run_dir={run}: .*moved"):
        files.save_checkpoint({"a": 1}, run / "checkpoints/last.ckpt")
    assert not run.exists()

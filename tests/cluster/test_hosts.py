"""Trainings on several hosts, as network namespaces of this machine: torchrun and SLURM; cables, power and clocks fail.

Every training ends with the bits of one that nothing has disturbed.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest
from comparing import assert_equal, everything
from hosts import ROOT, Hosts, forbidden, torchrun
from slurm import Slurm, missing

from lama.runs.checkpointing import read_checkpoint

REASON = forbidden()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]
needs_slurm = pytest.mark.skipif(bool(missing()), reason=f"not on this machine: {', '.join(missing())}")
SMALL = [
    "bin/train.py", "-cn", "lama-fourier", "losses=no_perceptual", "recipe=modern", "trainer.accelerator=cpu",
    "data=builtin", "data.batch_size=2", "data.epoch_size=80", "data.max_val_pairs=8", "data.val_per_image=2",
    "data.val_size=64", "data.num_workers=0", "augment=crop_flip", "augment.size=72", "masks=train_wide_128",
    "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4", "evaluator.intervals=false",
    "checkpoint.every_batches=5", "logger=[]", "trainer.max_epochs=2",
]  # fmt: skip
HOUR = 3600
GOES_ON = "the same command continues from the last checkpoint"


def train(hosts, run, out, shifts=(), **options):
    """Start the same command on every host; ``shifts``: seconds by which their clocks are ahead."""
    out.mkdir(exist_ok=True)
    command = [*SMALL, f"trainer.num_nodes={hosts.number}", f"run_dir={run}"]
    shifts = (*shifts, *[0] * hosts.number)
    return [
        hosts.start(i, [*torchrun(hosts, i), *command], out / f"{i}.txt", shift=shifts[i], **options)
        for i in range(hosts.number)
    ]


def ended(processes, seconds=600):
    """The exit codes."""
    end = time.monotonic() + seconds
    return [process.wait(max(0.1, end - time.monotonic())) for process in processes]


def has_begun(run, processes, out):
    """Wait for the first checkpoint."""
    while not (run / "checkpoints/last.ckpt").exists():
        assert all(process.poll() is None for process in processes), texts(out)
        time.sleep(0.1)


def texts(out):
    return {path.stem: path.read_text() for path in sorted(out.glob("*.txt"))}


def lines(out):
    """The lines of the training about its end, for each host; torchrun adds its own report."""
    found = {}
    for host, text in texts(out).items():
        assert f"{ROOT}/lama" not in text, text  # a traceback of ours
        found[int(host)] = [line for line in text.splitlines() if line.startswith("error: ")]
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with Hosts(2, tmp_path_factory.mktemp("two")) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    with Hosts(4, tmp_path_factory.mktemp("four")) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def of_two(two):
    """A run of two hosts on a common disk that nothing has disturbed."""
    run = two.folder / "undisturbed"
    assert ended(train(two, run, two.folder / "out")) == [0, 0], texts(two.folder / "out")
    return everything(run)


@pytest.fixture(scope="module")
def of_four(four):
    run = four.folder / "undisturbed"
    assert ended(train(four, run, four.folder / "out")) == [0] * 4, texts(four.folder / "out")
    return everything(run)


def test_a_cable_pulled_for_20_seconds_and_a_clock_an_hour_ahead_change_nothing(two, of_two, tmp_path):
    run, there = two.folder / "disk0/cut", two.folder / "disk1/cut"
    processes = train(two, two.disk / "cut", tmp_path / "out", shifts=(0, HOUR), own_disk=True)
    has_begun(run, processes, tmp_path / "out")
    with two.cut(1):
        time.sleep(20)
        assert [process.poll() for process in processes] == [None, None]
    assert ended(processes) == [0, 0], texts(tmp_path / "out")
    assert_equal(everything(run), of_two)
    assert not list(there.rglob("*.*"))  # only the first rank writes


def test_a_killed_host_ends_the_other_within_seconds_and_the_same_command_goes_on(two, of_two, tmp_path):
    run = two.folder / "disk0/killed"
    processes = train(two, two.disk / "killed", tmp_path / "out", own_disk=True)
    has_begun(run, processes, tmp_path / "out")
    two.kill(1)
    assert ended(processes, 60) == [1, -9]  # torchrun's code
    assert lines(tmp_path / "out")[0] == [f"error: training: a process on host1 (10.77.0.2) was killed; {GOES_ON}"]
    assert "exitcode  : 75" in texts(tmp_path / "out")["0"]
    reached = read_checkpoint(run / "checkpoints/last.ckpt")["progress"]["iteration"]
    assert 5 <= reached < 40
    # Without the checkpoint on the second host, and with a clock an hour slow on the first.
    processes = train(two, two.disk / "killed", tmp_path / "again", shifts=(-HOUR, 0), own_disk=True)
    assert ended(processes) == [0, 0], texts(tmp_path / "again")
    assert f"the checkpoint of iteration {reached} is sent" in texts(tmp_path / "again")["0"]
    assert_equal(everything(run), of_two)


def test_a_host_without_network_for_long_ends_all_with_one_line_and_the_same_command_goes_on(four, of_four, tmp_path):
    run = four.folder / "lost"
    processes = train(four, run, tmp_path / "out")
    has_begun(run, processes, tmp_path / "out")
    with four.cut(2):
        began = time.monotonic()
        codes = ended(processes, 120)
    assert codes == [1] * 4
    assert time.monotonic() - began < 100
    again = f"has not answered for 60 seconds; {GOES_ON}"
    lost, first = (f"error: training: rank {i} on host{i} (10.77.0.{i + 1}) {again}" for i in (2, 0))
    assert lines(tmp_path / "out") == {0: [lost], 1: [lost], 2: [first], 3: [lost]}
    assert all("exitcode  : 75" in text for text in texts(tmp_path / "out").values())
    processes = train(four, run, tmp_path / "again")
    assert ended(processes) == [0] * 4, texts(tmp_path / "again")
    assert_equal(everything(run), of_four)


def test_gradients_travel_while_the_backward_pass_computes(two, tmp_path):
    two.limit("200mbit")
    script = [sys.executable, str(ROOT / "tests/cluster/overlapped.py")]
    processes = [two.start(i, [*script, str(i)], tmp_path / f"{i}.txt") for i in range(2)]
    assert ended(processes) == [0, 0], texts(tmp_path)
    after, during = json.loads(texts(tmp_path)["0"].splitlines()[-1])
    print(
        f"8 layers of 2 MB and 0.1 s over 200 Mbit/s: {after:.2f} s with the exchange after them, {during:.2f} s during"
    )
    assert after > 1.4  # 0.8 s of layers, 0.67 s of network
    assert during < 0.9 * after


@needs_slurm
@pytest.mark.slurm
def test_four_nodes_of_slurm_lose_one_and_the_same_command_goes_on(four, of_four, tmp_path):
    run, folder = four.folder / "slurm", Path(tempfile.mkdtemp(prefix="lama-slurm"))
    folder.chmod(0o755)
    words = ["srun", "--nodes=4", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--label", sys.executable, *SMALL,
             "trainer.num_nodes=4", f"run_dir={run}"]  # fmt: skip
    try:
        with Slurm(folder, four) as slurm:
            conf = {"SLURM_CONF": slurm.environment["SLURM_CONF"]}
            srun = four.start(0, words, tmp_path / "out.txt", **conf)
            has_begun(run, [srun], tmp_path)
            four.kill(2)
            assert srun.wait(120) != 0
            said = texts(tmp_path)["out"]
            line = f"error: training: a process on host2 (10.77.0.3) was killed; {GOES_ON}"
            assert [said.count(f"{task}: {line}") for task in range(4)] == [1, 1, 0, 1], said
            assert f"{ROOT}/lama" not in said
            slurm.start_node(2)
            slurm.until_idle()
            again = four.start(0, words, tmp_path / "again.txt", **conf)
            assert again.wait(600) == 0, texts(tmp_path)["again"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert "resumed from" in texts(tmp_path)["again"]
    assert_equal(everything(run), of_four)  # which torchrun has started

"""Several processes: they stay equal, share the data, stop, fail and resume together."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from budget import within
from comparing import assert_equal, everything
from PIL import Image
from processes import forked
from pytorch_lightning.utilities import rank_zero_only
from trainings import BOXES, make_data, make_module, run_into

from lama.data import Distortions, InpaintingDataModule
from lama.losses import NonSaturatingAdversarialLoss
from lama.machine.lock import only_one
from lama.runs import Checkpoints, callbacks
from lama.runs.callbacks import read_metrics
from lama.runs.checkpointing import read_checkpoint, write_checkpoint
from lama.runs.non_finite_guard import NonFiniteGuard
from lama.runs.processes import AveragedGradients, Processes, choose_processes

IMAGES, EPOCHS = 40, 2
STEPS = 20  # of two processes with two images each


class Noise:
    """Forty images."""

    def __init__(self, path):
        self.names = [f"{path}{i}" for i in range(IMAGES if path == "train" else 3)]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return self.names[index], np.random.default_rng(index).integers(0, 256, (40, 40, 3), np.uint8)


def rank():
    return int(os.environ.get("RANK", "0"))


def without_batches(module):
    """Nothing depends on which images a process has together: BatchNorm with fixed statistics. And no Adam, which
    divides by the gradient and makes a step of what is rounding."""
    module.make_optimizers = {name: partial(torch.optim.SGD, lr=1e-3) for name in ("generator", "discriminator")}
    layers = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    image, mask = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.zeros(8, 1, 32, 32)
    with torch.no_grad():
        module.discriminator(module.generator(torch.cat([image, mask], dim=1)))
        module.average.module(torch.cat([image, mask], dim=1))
    for layer in layers:
        layer.eval()


def a_run(folder, batch=2, change=None, source=Noise, **settings):
    """A training of one process of two, or of one alone; writes its state and its samples next to the folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    module = make_module(ema_decay=0.9)
    data = InpaintingDataModule(source, "train", BOXES, Distortions(32), BOXES, val_path="val", val_size=32,
                                batch_size=batch, num_workers=0, cache_gb=0)  # fmt: skip
    seen, crop = [], data.train_set._crop
    data.train_set._crop = lambda index, *drawn: (seen.append(index), crop(index, *drawn))[1]
    if change is not None:
        change(module)
    callbacks.draw_curves = lambda *_: None  # takes seconds; in a process of its own
    try:
        run_into(
            folder, module, data=data, resume="auto",
            trainer={"devices": int(os.environ.get("WORLD_SIZE", "1")), "max_epochs": EPOCHS},
            **{"checkpoints": partial(Checkpoints, every_batches=4)} | settings,
        )  # fmt: skip
    finally:
        torch.save([module.state_dict(), [o.state_dict() for o in module.trainer.optimizers]],
                   folder.with_name(f"{rank()}.pt"))  # fmt: skip
        folder.with_name(f"{rank()}.json").write_text(json.dumps(seen[10:]))  # the start looks at ten


def states(folder):
    return [torch.load(folder.with_name(f"{r}.pt"), weights_only=True) for r in range(2)]


def images(folder):
    return [json.loads(folder.with_name(f"{r}.json").read_text()) for r in range(2)]


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """A run of two processes that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("two") / "run"
    assert forked(a_run, folder) == [0, 0]
    return folder


def test_both_processes_have_the_same_networks_optimisers_and_averages(of_two):
    first, second = states(of_two)
    assert int(first[0]["iteration"]) == STEPS
    assert_equal(first, second)


def test_an_epoch_is_shared_out_each_image_once(of_two):
    first, second = images(of_two)
    for epoch in range(EPOCHS):
        part = slice(epoch * IMAGES // 2, (epoch + 1) * IMAGES // 2)
        assert sorted(first[part] + second[part]) == list(range(IMAGES))


def test_what_is_logged_and_validated_is_of_both(of_two):
    series = read_metrics(of_two / "metrics.csv")
    assert series["train_gen_l1"][0] == [10, 20]
    assert series["val_ssim_total_mean"][0] == [10, 20]
    log = (of_two / "train.log").read_text()
    assert log.count("batch size: 4 (2 on each of 2 processes)") == 1
    assert "under 20: the authors saw quality fall" in log
    assert "training 2 epochs, about 20 iterations" in log
    assert json.loads((of_two / "summary.json").read_text())["processes"] == 2


def test_two_processes_compute_what_one_does_with_twice_the_batch(tmp_path):
    assert forked(a_run, tmp_path / "two/run", 2, without_batches) == [0, 0]
    assert forked(a_run, tmp_path / "one/run", 4, without_batches, world=1) == [0]
    first, second = images(tmp_path / "two/run")
    alone = json.loads((tmp_path / "one/0.json").read_text())
    together = np.stack([first, second], axis=1).flatten()
    assert together.tolist() == alone  # the same order
    two, one = states(tmp_path / "two/run")[0], torch.load(tmp_path / "one/0.pt", weights_only=True)
    begun = make_module(ema_decay=0.9).state_dict()
    for key in begun:
        if key.endswith("weight"):
            change = one[0][key] - begun[key]
            assert change.norm() > 1e-6, key
            assert (two[0][key] - one[0][key]).norm() < 0.02 * change.norm(), key
    a, b = (read_metrics(tmp_path / f"{n}/run/metrics.csv") for n in ("one", "two"))
    within("losses of two processes", *({name: values[1] for name, values in one.items()} for one in (a, b)))


def signalled(number, iteration):
    """One of the two processes gets a signal."""

    def change(module):
        step = module.training_step

        def wrapped(*arguments):
            if rank() == 1 and int(module.iteration) == iteration:
                os.kill(os.getpid(), number)
            return step(*arguments)

        module.training_step = wrapped

    return change


def test_a_signal_to_one_stops_both_and_they_resume_to_the_bit(tmp_path, of_two):
    folder = tmp_path / "run"
    assert forked(a_run, folder, 2, signalled(signal.SIGTERM, 6)) == [75, 0]
    assert read_checkpoint(folder / "checkpoints/last.ckpt")["progress"]["iteration"] == 7
    assert [len(seen) for seen in images(folder)] == [14, 14]
    assert "stopped by SIGTERM after iteration 7" in (folder / "train.log").read_text()
    assert forked(a_run, folder) == [0, 0]
    assert_equal(everything(folder), everything(of_two))
    assert_equal(states(folder), states(of_two))


def test_a_killed_process_ends_the_other_with_one_line_and_they_resume_to_the_bit(tmp_path, of_two, capfd):
    folder = tmp_path / "run"
    codes = forked(a_run, folder, 2, signalled(signal.SIGKILL, 13))
    assert codes == [1, -signal.SIGKILL]
    assert re.search(r"TryAgainError: training: a process on \S+ \(127.0.0.1\) was killed; the", capfd.readouterr().err)
    assert forked(a_run, folder) == [0, 0]
    assert_equal(everything(folder), everything(of_two))


def poisoned(steps):
    """The generator's loss of one of the processes is not finite."""

    def change(module):
        original = module.objective.generator_loss

        def loss(context):
            value, logs = original(context)
            bad = rank() == 1 and int(module.iteration) + 1 in steps
            return (value * float("nan") if bad else value), logs

        module.objective.generator_loss = loss
        step, kept = module.training_step, []

        def wrapped(*arguments):
            weights = {key: value.clone() for key, value in module.state_dict().items() if key != "iteration"}
            result = step(*arguments)
            same = all(torch.equal(value, module.state_dict()[key]) for key, value in weights.items())
            kept.append(same)
            assert same == (int(module.iteration) in steps), module.iteration
            return result

        module.training_step = wrapped

    return change


def test_a_non_finite_step_on_one_rank_is_skipped_by_both(tmp_path):
    folder = tmp_path / "run"
    assert forked(a_run, folder, 2, poisoned([7])) == [0, 0]
    assert_equal(*states(folder))
    log = (folder / "train.log").read_text()
    assert log.count("iteration 7 skipped, generator: loss nan") == 1
    assert read_metrics(folder / "metrics.csv")["train_skipped"] == ([10, 20], [1.0, 1.0])


def on_own_disk(folder, *arguments, swapped=False, **settings):
    """Each rank has a disk, and its run folder there."""
    a_run(folder / f"disk{rank() ^ swapped}/run", *arguments, **settings)


def test_without_a_common_disk_rank_0_sends_its_checkpoint_and_another_first_machine_is_refused(
    tmp_path, of_two, capfd
):
    assert forked(on_own_disk, tmp_path, 2, signalled(signal.SIGTERM, 6)) == [75, 0]
    assert not (tmp_path / "disk1/run").exists()  # only rank 0 writes
    assert forked(partial(on_own_disk, swapped=True), tmp_path) == [1, 1]
    assert not (tmp_path / "disk1/run/checkpoints").exists()
    line = r"run_dir: rank 1 on \S+ \(127.0.0.1\) has a checkpoint of iteration 7, rank 0 on \S+ .* has none; "
    assert len(re.findall(f"ValueError: {line}", capfd.readouterr().err)) == 2
    shutil.copytree(tmp_path / "disk0/run", tmp_path / "disk1/run", dirs_exist_ok=True)
    other = read_checkpoint(tmp_path / "disk1/run/checkpoints/last.ckpt")  # of the same iteration, another training
    for state in (*other["state_dict"].values(), other["optimizer_states"][0]["state"][0]["exp_avg"]):
        state.zero_() if state.is_floating_point() else None
    write_checkpoint(other, tmp_path / "disk1/run/checkpoints/last.ckpt")
    assert forked(on_own_disk, tmp_path) == [0, 0]
    assert "the checkpoint of iteration 7 is sent" in (tmp_path / "disk0/run/train.log").read_text()
    assert_equal(everything(tmp_path / "disk0/run"), everything(of_two))


def test_without_a_common_disk_all_ranks_return_to_the_checkpoint_of_rank_0(tmp_path):
    settings = {"change": poisoned([10, 11]), "faults": NonFiniteGuard(max_skipped=2)}
    assert forked(partial(on_own_disk, **settings), tmp_path) == [0, 0]
    first, second = (torch.load(tmp_path / f"disk{r}/{r}.pt", weights_only=True) for r in range(2))
    assert_equal(first, second)
    assert "returned to the weights and optimisers of iteration 8" in (tmp_path / "disk0/run/train.log").read_text()


class Fewer(Noise):
    """Rank 1 lacks images."""

    def __init__(self, path):
        super().__init__(path)
        if rank() == 1 and path == "train":
            self.names = self.names[:-4]


def unlike(folder, what):
    """Two ranks that cannot train together."""
    if what == "images":
        a_run(folder / "run", source=Fewer)
    else:
        a_run(folder / "run", config=f"data: {{batch_size: {2 + rank()}}}\nrun_dir: /disk{rank()}\n")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (
            "images",
            r"data: rank 1 on \S+ \(127.0.0.1\) has 36 images to train on, rank 0 on \S+ \S+ has 40; all machines",
        ),
        (
            "settings",
            r"training: rank 1 on .* other settings than rank 0 on \S+ \S+ data.batch_size=3 \(2\); start all",
        ),
    ],
)
def test_ranks_with_other_images_or_settings_are_refused_on_all(tmp_path, capfd, what, line):
    assert forked(unlike, tmp_path, what) == [1, 1]
    assert len(re.findall(f"ValueError: {line}", capfd.readouterr().err)) == 2
    assert not (tmp_path / "run").exists()


def failing(folder):
    """Rank 1 ends with an error of its own."""

    def change(module):
        step = module.training_step

        def wrapped(*arguments):
            if rank() == 1 and int(module.iteration) == 5:
                raise ValueError("data: too many broken images")
            return step(*arguments)

        module.training_step = wrapped

    a_run(folder, 2, change)


def test_the_error_of_one_rank_is_the_line_of_the_others(tmp_path, capfd):
    assert forked(failing, tmp_path / "run") == [1, 1]
    said = capfd.readouterr().err
    assert re.search(
        r"ValueError: training: rank 1 on \S+ \(127.0.0.1\) has ended: data: too many broken images; the", said
    )


def alone(folder):
    """The first of two ranks; the other never starts."""
    os.environ["WORLD_SIZE"] = "2"
    AveragedGradients.PATIENCE = timedelta(seconds=3)
    a_run(folder)


@pytest.mark.slow
def test_a_rank_that_never_starts_ends_the_wait_of_the_others(tmp_path, capfd):
    assert forked(alone, tmp_path / "run", world=1) == [1]
    assert "ValueError: training: not all of the 2 processes have started" in capfd.readouterr().err


def test_a_second_training_in_the_same_folder_is_refused_and_a_killed_one_leaves_it_free(tmp_path):
    def hold(pipe):
        with only_one(tmp_path):
            worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            worker.start()
            pipe.send(worker.pid)
            time.sleep(60)

    here, there = multiprocessing.Pipe()
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(there,))
    holder.start()
    worker = here.recv()
    try:
        (tmp_path / "train.log").write_text("of the first")
        with pytest.raises(ValueError, match=rf"another training .*\(process {holder.pid} on .*\); wait"):
            run_into(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "train.log"}
        holder.kill()
        holder.join()
        os.kill(worker, 0)  # still there: it does not hold the lock
        with only_one(tmp_path):
            pass
    finally:
        holder.kill()
        os.kill(worker, signal.SIGKILL)


SLURM = {
    "SLURM_JOB_NAME": "lama",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NTASKS_PER_NODE": "4",
}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_RANK": "0"}


@pytest.mark.parametrize(
    ("trainer", "environment", "message"),
    [
        ({"strategy": "fsdp"}, {}, r"trainer\.strategy=fsdp: expected auto or ddp"),
        ({"sync_batchnorm": True}, {}, r"trainer\.sync_batchnorm=true: .* use recipe\.sync_batchnorm=generator"),
        ({"accelerator": "gpu", "devices": 2}, {}, r"trainer\.accelerator=gpu trainer\.devices=2: No supported gpu"),
        (
            {"devices": 1},
            TORCHRUN | {"WORLD_SIZE": "4", "RANK": "0"},
            r"trainer\.devices=1 trainer\.num_nodes=1: expected 4 in all, since .* has started 4 processes",
        ),
        (
            {"devices": 1},
            {"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_NAME": "bash"},
            "expected 2 in all, since torchrun or SLURM has started 2 processes",
        ),
        (
            {"devices": 4},
            SLURM | {"SLURM_NTASKS": "1"},
            r"trainer\.devices=4 trainer\.num_nodes=1: expected 1 in all",
        ),
        ({"devices": 4}, SLURM | {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": ""}, "--ntasks-per-node=4"),
    ],
)
def test_invalid_numbers_of_processes_are_refused_before_anything_is_written(
    tmp_path, monkeypatch, trainer, environment, message
):
    for key, value in environment.items():
        monkeypatch.setenv(key, value) if value else monkeypatch.delenv(key, raising=False)
    with pytest.raises(ValueError, match=message):
        run_into(tmp_path / "run", trainer=trainer)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"NODE_RANK": "1"}, False),
        (TORCHRUN | {"WORLD_SIZE": "8", "RANK": "4"}, False),
        (
            SLURM | {"SLURM_NTASKS": "8", "SLURM_PROCID": "4", "SLURM_NODEID": "1", "SLURM_STEP_NUM_TASKS": "8"},
            False,
        ),
    ],
    ids=["plain", "plain, second node", "torchrun", "slurm"],
)  # fmt: skip
def test_every_launcher_is_understood_before_it_starts_anything(monkeypatch, environment, first):
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    arguments, processes = choose_processes({"accelerator": "cpu", "devices": 4, "num_nodes": 2})
    assert processes == Processes(number=8, here=4, first=first)
    assert isinstance(arguments["strategy"], AveragedGradients)
    assert rank_zero_only.rank == 0  # the rank of the probe would hide the curves of a later training here


def test_one_device_needs_no_strategy():
    assert choose_processes({"accelerator": "cpu", "devices": 1, "strategy": "ddp"}) == (
        {"accelerator": "cpu", "devices": 1, "precision": "32-true"},
        Processes(number=1, here=1, first=True),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch_size": 3}, "data: 3 samples .*4 processes"),
        ({}, "data: 3 .*pairs .*4 processes"),
    ],
)
def test_too_little_for_the_processes_is_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run_into(tmp_path / "run", data=make_data(**settings), trainer={"devices": 4})
    assert not (tmp_path / "run").exists()


def test_a_training_that_ends_in_an_error_does_not_wait_for_its_workers(root):
    script = "import trainings as t; batches = iter(t.make_data(num_workers=1).train_dataloader()); next(batches); 1/0"
    environment = os.environ | {"PYTHONPATH": f"{root}:{root}/tests"}
    ended = subprocess.run([sys.executable, "-c", f"import conftest; {script}"], env=environment, capture_output=True,
                           text=True, timeout=60)  # fmt: skip
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


def test_r1_and_synchronised_batchnorm_in_the_discriminator_are_refused():
    with pytest.raises(ValueError, match=r"sync_batchnorm=both.*=generator"):
        make_module(sync_batchnorm="both")
    with pytest.raises(ValueError, match=r"sync_batchnorm.*all"):
        make_module(sync_batchnorm="all")


@pytest.mark.parametrize(("option", "converted"), [("generator", [True, False]), ("both", [True, True])])
def test_batchnorm_is_synchronised_where_it_is_asked_for(option, converted):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NonSaturatingAdversarialLoss, "differentiates_twice", False)
        module = make_module(sync_batchnorm=option)
    before = module.state_dict()
    parameters = list(module.parameters())
    module.trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(root_device=torch.device("cuda")))
    module.setup("fit")
    networks = (module.generator, module.discriminator)
    assert [any(isinstance(m, torch.nn.SyncBatchNorm) for m in network.modules()) for network in networks] == converted
    assert module.state_dict().keys() == before.keys()
    assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))  # the parameters of the optimisers
    module.trainer.strategy.root_device = torch.device("cpu")
    with pytest.raises(ValueError, match=r"recipe\.sync_batchnorm.*GPU"):
        module.setup("fit")


def test_processes_share_the_memory_for_decoded_images():
    def size(processes, **settings):
        data = make_data(**settings)
        data.share_machine(processes)
        return data.train_set.source.size

    assert size(4) <= size(1) // 4 + 1
    assert size(4, cache_gb=0.01) == size(1, cache_gb=0.01)


def command(*overrides, launcher=(), root):
    return [
        *launcher, *([] if launcher else [sys.executable]), str(root / "bin/train.py"), "-cn", "demo",
        "generator.ngf=4", "discriminator.ndf=4", "generator.n_blocks=1", "augment.size=64", "data.epoch_size=16",
        "data.batch_size=2", "data.num_workers=1", "data.max_val_pairs=2", "data.val_per_image=1", "trainer.devices=2",
        *overrides,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2")],
                         ids=["plain", "torchrun"])  # fmt: skip
def test_the_command_trains_on_two_devices_is_stopped_and_resumes(tmp_path, root, launcher):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    run = tmp_path / "run"
    arguments = command(f"run_dir={run}", "trainer.max_epochs=100", launcher=launcher, root=root)
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)
    while not (run / "checkpoints/last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == (1 if launcher else 75), message  # torchrun has exit codes of its own
    assert (run / "train.log").read_text().count("stopped by SIGTERM") == 1
    epochs = read_checkpoint(run / "checkpoints/last.ckpt")["progress"]["epoch"] + 1
    arguments = command(f"run_dir={run}", f"trainer.max_epochs={epochs}", launcher=launcher, root=root)
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "summary.json").read_text())["iterations"] == 4 * epochs


@pytest.mark.slow
def test_a_process_that_fails_ends_the_command_with_its_line(tmp_path, root):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(20):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (80, 80, 3), np.uint8)).save(folder / f"{i:02d}.png")
    overrides = [
        "data=folder",
        f"data.path={folder}",
        "data.cache_gb=0",
        "data.max_broken=0.02",
        "trainer.max_epochs=100",
    ]
    arguments = command(*overrides, "data.val_fraction=0.1", f"run_dir={tmp_path}/run", root=root)
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/checkpoints/last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.1)
    for path in list(folder.iterdir())[::2]:
        path.write_bytes(b"damaged")
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 2, message
    assert "Traceback" not in message
    assert "images cannot be used, more than data.max_broken=0.02" in message

"""Sweeps on a real SLURM of one machine: preempted, out of time, crashed, resubmitted, collected; two tasks a job."""

import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from slurm import Slurm, missing

from lama.checkpoints import save_generator
from lama.models import FFCResNetGenerator
from lama.runs.checkpointing import read_checkpoint

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        bool(missing()), reason=f"not on this machine: {', '.join(missing())} (Debian: slurm-wlm, munge)"
    ),
]
ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "losses=no_perceptual", "recipe=modern", "trainer.accelerator=cpu", "data=builtin", "data.batch_size=2",
    "data.epoch_size=40", "data.max_val_pairs=2", "data.val_size=64", "data.num_workers=0", "augment=crop_flip",
    "augment.size=72", "masks=train_wide_128", "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4",
    "evaluator.intervals=false",
]  # fmt: skip
LAUNCHER = ["launcher=slurm", "launcher.gpus=false", "launcher.cpus_per_task=1", "launcher.timeout_min=3",
            "launcher.signal_delay_s=30"]  # fmt: skip


@pytest.fixture(scope="module")
def slurm():
    folder = Path(tempfile.mkdtemp(prefix="lama-slurm"))
    folder.chmod(0o755)
    with Slurm(folder) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


def call(slurm, *arguments, code=0, timeout=600):
    environment = slurm.environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
                          timeout=timeout)  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def status(slurm, folder):
    """{title: (state, note)}"""
    lines = call(slurm, "bin/sweep.py", "status", str(folder)).splitlines()
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if "/seed" in line}


def until(slurm, folder, condition, seconds=900):
    end = time.monotonic() + seconds
    while not condition(found := status(slurm, folder)):
        logs = "\n".join(f"{p.name}: {p.read_text()[-500:]}" for p in folder.glob("jobs/*.log"))
        assert time.monotonic() < end, f"{found}\n{slurm.ask('squeue', '-a')}\n{logs}"
        time.sleep(2)
    return found


def over(found):
    return all(state.startswith(("done", "failed", "lost")) for state in found.values())


def state_of(run):
    content = read_checkpoint(run / "checkpoints/last.ckpt")
    return content["state_dict"], content["optimizer_states"], (run / "metrics.csv").read_bytes()


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a.equal(b) if hasattr(a, "equal") else a == b


def test_a_sweep_survives_preemption_timeout_and_crash(slurm, tmp_path):
    images, folder = tmp_path / "images", tmp_path / "sweep"
    own = {
        "lama-fourier": ["trainer.max_epochs=40"],  # requeued in the middle
        "lama-regular": ["trainer.max_epochs=200"],  # longer than its three minutes
        "lama-dilated": ["trainer.max_epochs=2", "data=folder", f"data.path={images}"],  # gone when the job starts
        "lama-fourier-shallow": ["trainer.max_epochs=2"],
    }
    call(slurm, "-c", f"from lama.sweeps.toy import make_material; make_material({str(tmp_path / 'toy')!r})")
    shutil.copytree(tmp_path / "toy/images", images)  # or the sweep is refused before anything is submitted
    given = ",".join(f"{row}:[{','.join(map(repr, overrides))}]" for row, overrides in own.items())
    table = ["bin/train.py", "-m", "sweep=table2_generators", f"own={{{given}}}"]
    begin = [*table, f"rows=[{','.join(own)}]", f"dir={folder}", *LAUNCHER, *SMALL]
    assert "4 to start" in call(slurm, *begin)
    assert "nothing to start" in call(slurm, *begin)  # twice the same starts nothing twice
    assert slurm.ask("squeue", "-h", "-r").count("\n") <= 4
    shutil.rmtree(images)  # the third job waits for one of the two before it

    fourier = folder / "runs/lama-fourier/seed0"
    found = until(slurm, folder, lambda _: (fourier / "checkpoints/last.ckpt").exists() or over(_))
    job = (folder / "jobs/train-lama-fourier-seed0.job").read_text().strip()
    said = slurm.ask("scontrol", "requeue", job)
    assert "running" in found["lama-fourier/seed0"]
    assert said == "" or "pending" in said  # on a busy machine its time may be up before

    found = until(slurm, folder, over)
    states = {title: state.split()[0] for title, state in found.items()}
    assert states == {"lama-fourier/seed0": "done", "lama-regular/seed0": "done", "lama-dilated/seed0": "failed",
                      "lama-fourier-shallow/seed0": "done"}  # fmt: skip
    assert f"error: data.path, the images to train on: {images}" in found["lama-dilated/seed0"]
    assert "resumed from" in (fourier / "train.log").read_text()
    regular = (folder / "runs/lama-regular/seed0/train.log").read_text()
    assert "after this batch, with a checkpoint" in regular  # its time was up
    assert "resumed from" in regular
    shutil.copytree(tmp_path / "toy/images", images)
    assert "resubmit" in call(slurm, *begin)  # a failed row starts again only when asked for
    said = call(slurm, "bin/sweep.py", "resubmit", str(folder))
    assert "1 to start: lama-dilated/seed0" in said
    until(slurm, folder, lambda found: all(state.startswith("done") for state in found.values()))

    # preempted or not: to the bit
    alone = tmp_path / "alone"
    call(slurm, *table, "rows=[lama-fourier]", f"dir={alone}", *SMALL)
    assert all(map(same, state_of(fourier), state_of(alone / "runs/lama-fourier/seed0")))

    settings = yaml.safe_load((folder / "sweep.yaml").read_text())
    settings["evaluation"] |= {"metrics": ["psnr_hole"], "size": 256}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(settings))
    for _ in range(2):  # the second time there is nothing left to do
        said = call(slurm, "bin/sweep.py", "collect", str(folder), str(tmp_path / "toy/sets"))
    assert "nothing to start" in said
    tables = json.loads((folder / "tables/tables.json").read_text())
    assert "lama-dilated" in json.dumps(tables)
    assert len(list((folder / "evaluations").glob("*/seed0/*/metrics.json"))) == 4 * 3


def test_a_job_of_two_tasks_trains_with_two_processes(slurm, tmp_path):
    folder = tmp_path / "sweep"
    call(slurm, "bin/train.py", "-m", "sweep=seeds", "row=lama-fourier", "seeds=[3]", f"dir={folder}", *LAUNCHER,
         "launcher.devices=2", "launcher.timeout_min=15", *SMALL, "trainer.max_epochs=2")  # fmt: skip
    found = until(slurm, folder, over)
    run = folder / "runs/lama-fourier/seed3"
    assert found == {"lama-fourier/seed3": "done"}
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["processes"], summary["iterations"]) == (2, 20)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["launcher.partition=fast"], "launcher.partition=fast: this cluster has debug"),
        (["trainer.devices=2"], "trainer.devices=2: a sweep sets trainer.devices itself; use launcher.devices=N"),
    ],
)
def test_a_job_that_cannot_run_is_refused_before_submission(slurm, tmp_path, overrides, message):
    said = call(
        slurm, "bin/train.py", "-m", "sweep=seeds", f"dir={tmp_path}/sweep", *LAUNCHER, *SMALL, *overrides, code=2
    )
    assert message in said
    assert not (tmp_path / "sweep").exists()
    assert slurm.ask("squeue", "-h") == ""


def test_shards_of_a_prediction_that_are_killed_are_finished_by_the_same_command(slurm, tmp_path):
    """Every result once, with the bytes of one undisturbed process; jobs that are at work are not submitted again."""
    rng = np.random.default_rng(0)
    for number in range(48):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(tmp_path / "in" / f"{number}.png")
    Image.fromarray(np.pad(np.full((9, 9), 255, np.uint8), ((9, 22), (9, 30)))).save(tmp_path / "mask.png")
    save_generator(tmp_path / "model.safetensors", FFCResNetGenerator(ngf=4, n_blocks=1))
    places = [f"model.path={tmp_path}/model.safetensors", f"indir={tmp_path}/in", f"mask={tmp_path}/mask.png"]
    call(slurm, "bin/predict.py", *places, f"outdir={tmp_path}/alone")
    out = tmp_path / "out"
    begin = ["bin/predict.py", "-m", "shards=12", *places, f"outdir={out}", *LAUNCHER, "launcher.array_parallelism=4"]
    assert "12 shards submitted" in call(slurm, *begin)
    draw, killed, end = random.Random(0), set(), time.monotonic() + 1500
    while len(killed) < 4:
        waiting = slurm.ask("squeue", "-h", "-r", "-o", "%i %T").splitlines()
        running = [line.split()[0] for line in waiting if line.endswith("RUNNING")]
        if running and draw.random() < 0.3:
            killed.add(job := draw.choice(running))
            slurm.ask("scancel", "--signal=KILL", "--full", job)
        assert waiting, killed
        assert time.monotonic() < end
        time.sleep(1)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    started = int(re.search(r"(\d+) of 12 shards to start", call(slurm, *begin))[1])
    assert 1 <= started <= 4  # and not those that are running or queued
    while slurm.ask("squeue", "-h", "-r"):
        assert time.monotonic() < end
        time.sleep(1)
    assert "48 of 48 results" in call(slurm, *begin)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    alone = {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()}
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == alone

"""Predictions in shards: a list divided, killed processes, jobs that are started again."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from PIL import Image
from simulated_sweep import rehearse, simulate
from test_predict import files, paint, put, put_mask

from lama.checkpoints import save_generator
from lama.commands.predict import main
from lama.inference import Inpainter
from lama.machine.lock import only_one
from lama.pictures import MaskReader
from lama.pictures.prediction_jobs import PredictionPlan, fill_all
from lama.pictures.prediction_set import find
from lama.pictures.shard import Shard, number_of
from lama.sweeps import predict
from lama.sweeps.launch import launch
from lama.sweeps.shards import Piece, Shards, load_shards, save_shards
from lama.sweeps.state import DONE, FAILED, LOST, states

IMAGES = 96


@pytest.fixture
def images(tmp_path):
    """Pictures of noise, and one mask for all."""
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        path = tmp_path / "in" / f"{i % 3}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), np.uint8)).save(path)
    put_mask(tmp_path / "mask.png", (24, 16))
    return tmp_path


def listed(folder, shard=None, out="out"):
    places = {"indir": str(folder / "in"), "mask": str(folder / "mask.png"), "outdir": str(folder / out)}
    return find(places, shard=shard)


def names(found):
    return {found.name(item) for item in found.items}


def test_every_result_belongs_to_one_shard_and_stays_there(images):
    every = names(listed(images))
    shards = [names(listed(images, Shard(number, 7))) for number in range(7)]
    assert sum(map(len, shards)) == len(every) == IMAGES
    assert set.union(*shards) == every
    assert {name for name in every if number_of(name, 7) == 3} == shards[3]  # by the name relative to outdir alone
    put(images / "in" / "0" / "000a.png", (24, 16))
    assert shards[3] <= names(listed(images, Shard(3, 7))) <= shards[3] | {"0/000a.png"}
    assert names(listed(images, Shard(3, 7), out="elsewhere")) == names(listed(images, Shard(3, 7)))


def test_a_list_and_joined_masks_are_divided_by_the_names_of_results(images):
    lines = [f"in/0/{i:03d}.png,mask.png,out/{i}.png" for i in range(0, 60, 3)]
    (images / "list.csv").write_text("\n".join(lines))
    parts = [names(find({"pairs": str(images / "list.csv")}, shard=Shard(number, 4))) for number in range(4)]
    assert sorted(name for part in parts for name in part) == sorted(f"out/{i}.png" for i in range(0, 60, 3))
    put_mask(images / "in" / "0" / "000_mask001.png", (24, 16))
    put_mask(images / "in" / "0" / "000_mask002.png", (24, 16))
    places = {"indir": str(images / "in"), "outdir": str(images / "out")}
    parts = [find(places, join=True, shard=Shard(number, 4)).items for number in range(4)]
    assert sorted(map(len, parts)) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["shard=1"], "shards= is missing"),
        (["shards=4"], "shard= is missing"),
        (["shard=4", "shards=4"], "shard=4: expected a whole number from 0 to shards-1, 3"),
        (["shard=0", "shards=0"], "shards=0: "),
        (["-m"], "-m: expected shards=N"),
        (["-m", "shards=two"], "shards=two: "),
        (["-m", "shards=4", "shard=1"], "shard=1: not with -m"),
        (["-m", "shards=4", "shard=0"], "shard=0: not with -m.*remove shard="),
        (["-m", "shards=4", "overwrite=true"], "overwrite=true: not with -m"),
        (["-m", "shards=4", "launcher.devices=2"], r"launcher\.devices=2: a shard is one process"),
        (["-m", "shards=4", "launcher=slrm"], "launcher=slrm"),
        (["-m", "shards=4", "modl=x"], "modl"),
    ],
)
def test_a_wrong_shard_is_one_line_and_nothing_is_written(images, keys, message):
    with pytest.raises(ValueError, match=message):
        main([f"indir={images}/in", f"mask={images}/mask.png", f"outdir={images}/out", *keys])
    assert not (images / "out").exists()


def test_one_image_is_no_list(images):
    with pytest.raises(ValueError, match="-m: expected a list"):
        main(["-m", "shards=2", f"image={images}/in/0/000.png", f"mask={images}/mask.png", f"out={images}/a.png"])


def test_a_shard_runs_once_at_a_time(images):
    asked = [f"indir={images}/in", f"mask={images}/mask.png", f"outdir={images}/out", "shard=3", "shards=64"]
    held = images / "out/.shards/locks/3-of-64"
    held.mkdir(parents=True)
    message = rf"^shard=3: another prediction.*process {os.getpid()}"
    with only_one(held), pytest.raises(ValueError, match=message):
        main(asked)
    assert not list((images / "out").glob("*.png"))


def forked(work):
    """Run ``work`` in a forked process; returns the signal that has ended it, or 0."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def whole(folder):
    return [name for name in files(folder) if ".partial" not in name]


def dying(method, after):
    """``method``, at whose call number ``after`` the process is killed."""
    calls = []

    def called(*arguments, **keywords):
        calls.append(None)
        if len(calls) > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments, **keywords)

    return called


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.slow
def test_64_shards_killed_at_random_and_started_again_fill_every_image_once(images, tiny_generator, monkeypatch):
    """Killed while they compute, or between the writing of a file and its name; the bytes are those of one process."""
    inpainter = Inpainter(tiny_generator, "cpu", detail="off", compiled=False)
    log = images / "filled.txt"

    def fill(pixels, hole):
        with log.open("a") as file:
            file.write(f"{pixels[0, 0].tolist()}{pixels[0, 1].tolist()}\n")
        return inpainter(pixels, hole)

    def shard(number, death=None, after=0):
        plan = PredictionPlan(listed(images, Shard(number, 64)), MaskReader(), skip_existing=True)
        if death == "writing":
            patch.setattr("pathlib.Path.replace", dying(type(log).replace, after))
        fill_all(dying(fill, after) if death == "computing" else fill, plan.jobs)

    fill_all(inpainter, PredictionPlan(listed(images, out="alone"), MaskReader()).jobs)
    draw, ended = random.Random(0), []
    with pytest.MonkeyPatch.context() as patch:  # in the children only
        for number in draw.sample(range(64), 64):
            death, after = draw.choice(["writing", "computing", None]), draw.randrange(2)
            work = partial(shard, number, death, after)
            ended.append(forked(work) if death else work())
    assert 10 < ended.count(signal.SIGKILL) < 60
    first = {name: (images / "out" / name).stat().st_mtime_ns for name in whole(images / "out")}
    filled = log.read_text().splitlines()
    assert 20 < len(first) < IMAGES - 20
    log.write_text("")
    for number in range(64):
        shard(number)
    again = log.read_text().splitlines()
    assert len(again) == len(set(again)) == IMAGES - len(first)  # what had been written is not computed again
    assert len(filled) - len(first) <= ended.count(signal.SIGKILL)  # one image is lost by a kill at most
    results = whole(images / "out")
    assert results == files(images / "alone")
    assert all((images / "out" / name).stat().st_mtime_ns == time for name, time in first.items())
    for name in results:
        assert (images / "out" / name).read_bytes() == (images / "alone" / name).read_bytes(), name


@pytest.fixture
def jobs(images, monkeypatch):
    """Jobs that run in this process with grey paint in place of a network; the list of the shards that ran."""
    ran = []

    def run(shards, pieces):
        for piece in pieces:
            ran.append(piece.number)
            shard = Shard(piece.number, shards.shards)
            outcome = fill_all(paint, PredictionPlan(listed(images, shard), MaskReader(), skip_existing=True).jobs)
            predict.record(shards, piece, state=FAILED if outcome.failures else DONE, error="1 failed")

    monkeypatch.setattr(predict, "launch", run)
    return ran


def asked(images, *more):
    return ["-m", "shards=8", f"indir={images}/in", f"mask={images}/mask.png", f"outdir={images}/out", *more]


def test_the_same_command_starts_only_the_shards_with_missing_results(images, jobs, capsys):
    main(asked(images))
    assert jobs == list(range(8))
    assert f"{IMAGES} of {IMAGES} results" in capsys.readouterr().out
    main(asked(images))
    assert jobs == list(range(8))  # nothing more
    (images / "out/1/001.png").unlink()
    (images / "out/1/.partial-abc.png").touch()  # left by a process that was killed
    main(asked(images))
    assert jobs[8:] == [number_of("1/001.png", 8)]
    assert len(files(images / "out/1")) == IMAGES // 3
    put(images / "in/2/new.png", (24, 16))
    main(asked(images, "shards=3"))  # other shards of the same list, when no job is at work
    assert jobs[9:] == [number_of("2/new.png", 3)]
    from lama.commands.sweep import main as sweep

    sweep(["status", str(images / "out")])
    assert "3 in all: 3 done" in capsys.readouterr().out


def test_a_damaged_image_fails_its_shard_only_and_is_tried_again(images, jobs, capsys):
    (images / "in/0/000.png").write_bytes(b"")
    number = number_of("0/000.png", 8)
    for _ in range(2):
        with pytest.raises(SystemExit, match="1"):
            main(asked(images))
        assert f"shard{number:04d}  failed  1 failed" in capsys.readouterr().err
    assert jobs == [*range(8), number]
    shutil.copy(images / "in/0/003.png", images / "in/0/000.png")
    main(asked(images))
    assert jobs[9:] == [number]


def test_results_of_other_settings_are_not_completed(images, jobs):
    main(asked(images))
    (images / "out/1/001.png").unlink()
    with pytest.raises(ValueError, match=r"begun with feather=0 \(now: 3\);"):
        main(asked(images, "feather=3"))
    assert len(jobs) == 8
    main(asked(images, "detail=auto", "max_memory=4"))  # the default, and a key that may change
    assert len(jobs) == 9
    (images / "out/1/001.png").unlink()
    shutil.rmtree(images / "out/.shards")
    for more in ([], ["skip_existing=true"]):
        with pytest.raises(ValueError, match="no record of their settings"):
            main(asked(images, "feather=3", *more))
    assert len(jobs) == 9


@pytest.fixture
def typed(images, tiny_generator):
    """Run ``lama predict`` on 12 pictures, with a tiny network."""
    for path in list((images / "in").rglob("*.png"))[12:]:
        path.unlink()
    save_generator(images / "model.safetensors", tiny_generator)

    def run(*more):
        with suppress(SystemExit):
            main([f"model.path={images}/model.safetensors", "compiled=false", f"indir={images}/in",
                  f"mask={images}/mask.png", f"outdir={images}/out", *more])  # fmt: skip

    return run


def test_shards_that_are_typed_have_one_record_of_settings(images, typed, jobs, capsys, monkeypatch):
    from lama.commands.sweep import main as sweep

    typed("shard=0", "shards=4", "detail=off")
    before = sorted((images / "out").rglob("*.png"))
    sweep(["status", str(images / "out")])
    done = len(names(listed(images, Shard(0, 4))))
    assert f"{done} of 12 results are in {images}/out" in capsys.readouterr().out
    with pytest.raises(ValueError, match="results in shards"):
        sweep(["resubmit", str(images / "out")])
    for more in (["shard=1", "shards=4"], ["shard=1", "shards=4", "skip_existing=true"], ["-m", "shards=4"],
                 ["skip_existing=true"], ["overwrite=true"]):  # fmt: skip
        with pytest.raises(ValueError, match=r"begun with tile=1024 \(now: 512\), detail=off \(now: on\);"):
            typed("detail=on", "tile=512", *more)
    assert sorted((images / "out").rglob("*.png")) == before
    assert not jobs
    monkeypatch.chdir(images)
    typed("shard=2", "shards=5", "skip_existing=true", "detail=off", "indir=in")  # the same folder, other parts
    typed("-m", "shards=3", "detail=off")
    assert set(jobs) <= {0, 1, 2}
    assert "12 of 12 results" in capsys.readouterr().out


def test_settings_may_change_while_no_result_exists(images, typed):
    held = images / "out/.shards/locks/3-of-64"
    with pytest.raises(ValueError, match="out_key=x"):
        typed("shard=0", "shards=64", "out_key=x")
    held.mkdir()
    other = pytest.raises(ValueError, match=r"out_key=x \(now: inpainted\)")
    with only_one(held), other:  # its first image is not done
        typed("shard=0", "shards=2")
    typed("shard=0", "shards=2")
    shutil.rmtree(images / "out/.shards")
    with pytest.raises(ValueError, match="no record of their settings"):
        typed("shard=1", "shards=2")
    typed("skip_existing=true", "feather=3")  # the user knows
    assert not (images / "out/.shards/settings.yaml").exists()


def test_a_shard_is_a_command_that_can_be_typed(tmp_path):
    shards = Shards("predict", str(tmp_path), 64, ["indir=a b"], {"name": "local", "devices": 1, "nodes": 1}, 1)
    command = shards.command(Piece("predict", 3))
    assert command[1:4] == ["-m", "lama", "predict"]
    assert command[4:] == ["indir=a b", "shard=3", "shards=64", "skip_existing=true"]
    save_shards(shards)
    assert load_shards(tmp_path) == shards
    for piece in shards.pieces():
        assert shards.piece(str(piece)) == piece


def test_a_job_runs_the_command_of_its_shard(images, tiny_generator):
    """One shard as a real process, with a model of its own; it ends with nothing to do when it is started again."""
    save_generator(images / "model.safetensors", tiny_generator)
    words = [f"model.path={images}/model.safetensors", "compiled=false", "skip_existing=true"]
    launcher = {"name": "local", "devices": 1, "nodes": 1}
    places = [f"indir={images}/in", f"mask={images}/mask.png", f"outdir={images}/out"]
    shards = Shards("predict", str(images / "out/.shards"), 48, [*places, *words], launcher, 0)
    save_shards(shards)
    piece = Piece("predict", 5)
    launch(shards, [piece])
    assert states(shards, [piece])[0].state == DONE
    assert {name for name in files(images / "out") if name[0] != "."} == names(listed(images, Shard(5, 48)))
    log = images / "out/.shards/jobs/predict-shard0005.log"
    assert re.search(r"\d of \d images written", log.read_text())


def a_slurm(folder, monkeypatch, longest=1001):
    """Commands that stand in for a SLURM: ``sbatch`` keeps its scripts, ``squeue`` prints the file queue, all count."""
    folder.mkdir()
    (folder / "queue").touch()
    script = f"{folder}/script$(ls {folder} | grep -c ^script)"
    refuse = f"[ -f {folder}/full ] && [ -f {folder}/script0 ]"  # the second array
    scripts = {
        "srun": "true",
        "sinfo": "echo debug",
        "squeue": f"cat {folder}/queue",
        "scontrol": f"echo 'MaxArraySize            = {longest}'",
        "sbatch": f'{refuse} && {{ echo "sbatch: error: QOSMaxSubmit" >&2; exit 1; }}\n'
        f'script={script}; cp "$1" $script; echo Submitted batch job 1${{script#{folder}/script}}',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f'#!/bin/sh\necho "$0" >> {folder}/calls\n{text}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda name: (folder / "calls").read_text().count(f"/{name}\n")


def test_shards_are_one_array_of_a_cluster_and_not_submitted_twice(images, monkeypatch, caplog):
    calls = a_slurm(images / "slurm", monkeypatch)
    caplog.set_level("INFO")
    main(asked(images, "launcher=slurm", "launcher.gpus=false", "launcher.array_parallelism=3"))
    assert "#SBATCH --array=0-7%3" in (images / "slurm/script0").read_text()
    (images / "slurm/queue").write_text("".join(f"10_{i} {'RUNNING' if i < 2 else 'PENDING'}\n" for i in range(8)))
    main(asked(images, "launcher=slurm", "launcher.gpus=false", "launcher.array_parallelism=3"))
    assert calls("sbatch") == 1
    with pytest.raises(ValueError, match="shards=9: jobs of shards=8 are at work"):
        main([*asked(images, "launcher=slurm"), "shards=9"])
    (images / "slurm/queue").write_text("10_3 PENDING\n")  # the others have disappeared without a record
    main(asked(images, "launcher=slurm", "launcher.gpus=false"))
    assert "#SBATCH --array=0-6%7" in (images / "slurm/script1").read_text()
    shards = load_shards(images / "out/.shards")
    (images / "slurm/queue").write_text("")
    assert {one.state for one in states(shards, shards.pieces())} == {LOST}


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A sweep of 1250 trainings, and a SLURM whose arrays have at most 500 jobs."""
    from test_sweeps import a_sweep

    from lama.sweeps.plan import save
    from lama.sweeps.start import compose

    calls = a_slurm(tmp_path / "slurm", monkeypatch, longest=500)
    launcher = compose(["sweep=seeds", "row=demo", "launcher=slurm", "launcher.array_parallelism=50"], []).launcher
    sweep = a_sweep(tmp_path / "sweep", rows=["demo"], seeds=list(range(1250)), launcher=launcher)
    save(sweep)
    return sweep, calls


def test_jobs_past_the_longest_array_become_several_arrays_that_share_the_limit(many, tmp_path, monkeypatch):
    sweep, calls = many
    submitted = []
    module = sys.modules["lama.sweeps.launch"]
    note = lambda sweep, jobs: submitted.extend((work.seed, job) for work, job in jobs.items())  # noqa: E731
    monkeypatch.setattr(module, "submitted", note)
    monkeypatch.setattr("submitit.core.utils.DelayedSubmission.dump", lambda self, path: path.touch())
    (tmp_path / "slurm/full").touch()
    with pytest.raises(ValueError, match=r"sbatch has taken 500 of 1250 jobs, then refused: .*QOSMaxSubmit"):
        launch(sweep, sweep.trainings())
    assert len(submitted) == 500
    (tmp_path / "slurm/full").unlink()
    launch(sweep, sweep.trainings()[500:])
    arrays = [re.search(r"--array=(.*)", (tmp_path / f"slurm/script{i}").read_text())[1] for i in range(3)]
    assert arrays == ["0-499%20", "0-499%33", "0-249%16"]
    assert submitted[0] == (0, "10_0")
    assert submitted[-1] == (1249, "12_249")
    assert calls("scontrol") == 2


def test_the_state_of_thousands_of_jobs_asks_the_queue_once_and_opens_a_file_for_each(
    many, tmp_path, capsys, monkeypatch
):
    """Measured by lama sweep status: docs/cluster.md; here the operations are counted, which take the time."""
    from lama.commands.sweep import main as manage

    sweep, calls = many
    jobs = tmp_path / "sweep/jobs"
    queued = simulate(sweep, sweep.trainings()[:-1])  # the last was never submitted
    (tmp_path / "slurm/queue").write_text(queued)
    watching, opened = [True], []
    sys.addaudithook(lambda event, given: watching[0] and event == "open" and opened.append(str(given[0])))
    try:
        manage(["status", sweep.dir])
    finally:
        watching[0] = False
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "1250 in all: 250 done, 250 running, 250 queued, 250 failed, 249 lost, 1 not started"
    assert len(said) == 250 + 250 + 249 + 1  # of so many, those that want attention, and the counts
    assert calls("squeue") == 1
    of_jobs = [name for name in opened if name.startswith(str(jobs))]
    assert len(of_jobs) == 250 + 250 + 2 * 250 + 250 + 249  # a record for each; the number of a running job too

    monkeypatch.setattr("submitit.core.utils.DelayedSubmission.dump", lambda self, path: path.touch())
    manage(["resubmit", sweep.dir])
    assert (calls("squeue"), calls("sbatch")) == (2, 1)
    assert "--array=0-499%50" in (tmp_path / "slurm/script0").read_text()  # failed, lost and not started
    (tmp_path / "slurm/queue").write_text(queued + "".join(f"10_{i} PENDING\n" for i in range(500)))
    capsys.readouterr()
    manage(["status", sweep.dir])
    assert capsys.readouterr().out.endswith("1250 in all: 250 done, 250 running, 750 queued\n")


@pytest.mark.slow
def test_ten_thousand_jobs_are_listed_and_submitted_again_in_seconds(tmp_path):
    """Of the processor, with the imports; the limits are three and more times those of docs/cluster.md."""
    first, second, third = rehearse(tmp_path, 10_000)
    assert first[0] == "10000 in all: 2000 done, 2000 running, 2000 queued, 2000 failed, 2000 lost"
    arrays = [re.search(r"--array=(.*)%", path.read_text())[1] for path in sorted(tmp_path.glob("script*"))]
    assert arrays == ["0-1000", "0-1000", "0-1000", "0-996"]  # of 1001 at most
    assert third[0] == "10000 in all: 2000 done, 2000 running, 6000 queued"
    assert max(first[1], third[1]) < 5
    assert second[1] < 45


def test_the_state_of_a_sweep_needs_no_torch(many):
    sweep, _ = many
    code = f"import sys; from lama.commands.sweep import main; main(['status', {sweep.dir!r}]); print(len(sys.modules))"
    checked = f"{code}; assert not {{'torch', 'pytorch_lightning', 'numpy'}} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", checked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Evaluations in shards: the files of a single process, killed processes, other settings, jobs."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from formula import fill
from networks import random_inception
from PIL import Image
from test_shards import a_slurm, dying, forked

from lama.checkpoints import save_generator
from lama.commands.evaluate import READ, main
from lama.commands.sweep import main as sweep
from lama.data.evaluation_set import PairFolder
from lama.data.portions import portions
from lama.evaluation import Evaluator
from lama.pictures.shard import Shard
from lama.sweeps import evaluate
from lama.sweeps.evaluation import Evaluation
from lama.sweeps.evaluation_shards import one_shard
from lama.sweeps.state import DONE, FAILED, record

FILES = ("per_image.csv", "table.md", "table.tex", "report.html")
METRICS = "metrics=[psnr_hole,ssim,l1_hole,fid,kid,u_ids,ssim_fid100_f1]"
SHARDS = 3


class FormulaInception(torch.nn.Module):
    """In place of the Inception: 16 features by a convolution filled by formula. Notes every image that it sees."""

    def __init__(self, log):
        super().__init__()
        self.convolution, self.log = fill(torch.nn.Conv2d(3, 16, 3, 2)), log

    def forward(self, x):
        with self.log.open("a") as file:
            file.writelines(f"{image.sum().item()!r}\n" for image in x)
        return [self.convolution(x).relu().mean(dim=(2, 3), keepdim=True)]


def make_set(folder, images=12):
    """Pictures of two sizes, with one to three masks each, and one picture with six."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(images):
        height, width = ((20, 24), (28, 32), (20, 24))[i % 3]
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"p{i:02d}.png")
        for number in range(6 if i == 4 else 1 + i % 3):
            mask = np.zeros((height, width), np.uint8)
            mask[2 : 6 + number, 3 : 9 + i % 4] = 255
            Image.fromarray(mask).save(folder / f"p{i:02d}_mask{number:03d}.png")


@pytest.fixture
def network_log(tmp_path, monkeypatch):
    log = tmp_path / "seen.txt"
    log.touch()
    network = FormulaInception(log)
    monkeypatch.setattr("lama.evaluation.inception.fid_inception", lambda weights: (network, "the sha256 of a formula"))
    monkeypatch.setattr("lama.evaluation.inception.RESIZES", {"bilinear": lambda image: 2 * image - 1})
    return log


@pytest.fixture
def words(tmp_path, tiny_generator, network_log, monkeypatch):
    """The arguments of an evaluation of a tiny network on 28 pairs; its page has no plots, which take seconds."""
    for plot in ("by_area", "histograms"):
        monkeypatch.setattr(f"lama.evaluation.report.{plot}", lambda *_: None)
    make_set(tmp_path / "set")
    save_generator(tmp_path / "model.safetensors", tiny_generator)
    return [f"indir={tmp_path}/set", f"model.path={tmp_path}/model.safetensors", METRICS, "batch_size=4",
            "min_images=4"]  # fmt: skip


def shard(words, out, number, *more):
    main([*words, f"outdir={out}", f"shard={number}", f"shards={SHARDS}", *more])


def content(folder):
    """The results in ``folder``, without its own name."""
    files = {name: (folder / name).read_bytes() for name in FILES}
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["configuration"].pop("outdir")
    return files | {"metrics.json": metrics}


def pieces(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / ".shards/pieces").glob("[0-9]*.npz")}


def test_portions_hold_whole_images_of_one_size(words, tmp_path):
    pairs = PairFolder(tmp_path / "set")
    for batch_size in (1, 4, 100):
        found = portions(pairs, batch_size)
        assert sorted(i for portion in found for i in portion) == list(range(len(pairs)))
        of_image = {}
        for number, portion in enumerate(found):
            images = {pairs.paths[i][0] for i in portion}
            assert len({pairs.sizes[i] for i in portion}) == 1
            assert len(portion) <= batch_size or len(images) == 1
            for image in images:
                assert of_image.setdefault(image, number) == number
    assert [len(portion) for portion in portions(pairs, 100)] == [12, 16]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_shards_write_the_files_of_one_process_although_some_are_killed(words, tmp_path, network_log, capsys):
    """Every value equal to the bit; in both ways the network sees each picture and each prediction once."""
    alone, out = tmp_path / "alone", tmp_path / "out"
    main([*words, f"outdir={alone}"])
    seen = sorted(network_log.read_text().splitlines())
    pairs = PairFolder(tmp_path / "set")
    assert len(seen) == len(set(seen)) == 12 + len(pairs)  # each picture, and each prediction
    network_log.write_text("")
    with pytest.MonkeyPatch.context() as patch:  # in the children only
        patch.setattr(Evaluator, "update", dying(Evaluator.update, 1))
        assert forked(partial(shard, words, out, 1)) == signal.SIGKILL  # after its first batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.replace", dying(type(out).replace, 0))
        assert forked(partial(shard, words, out, 2)) == signal.SIGKILL  # its piece is written, but has no name
    assert not pieces(out)
    assert list((out / ".shards/pieces").glob(".partial-*"))
    network_log.write_text("")
    capsys.readouterr()
    shard(words, out, 0)
    assert "2 of 3 shards are not finished (1, 2)" in capsys.readouterr().out
    first = pieces(out)
    assert len(first) == 1
    with pytest.raises(ValueError, match=r"2 of 3 shards are not finished \(1, 2\); .*shard=1 shards=3"):
        main([*words, f"outdir={out}", f"shards={SHARDS}"])
    for number in range(SHARDS):
        shard(words, out, number)
    assert sorted(network_log.read_text().splitlines()) == seen
    assert {name: time for name, time in pieces(out).items() if name in first} == first
    assert content(out) == content(alone)
    assert json.loads((out / "metrics.json").read_text())["overall"]["fid"]["mean"] > 0
    said = capsys.readouterr().out
    assert re.search(r"shard 0 of 3: finished already; 2 of 3 shards are not finished \(1, 2\)", said)
    assert f"{12 + len(pairs)} computed" in said
    assert not list((out / ".shards/pieces").glob(".partial-*"))
    written = (out / "metrics.json").stat().st_mtime_ns
    main([*words, f"outdir={out}", f"shards={SHARDS}"])
    assert "holds the evaluation of these 3 shards" in capsys.readouterr().out
    assert (out / "metrics.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["shard=1"], "shards= is missing"),
        (["shard=5", "shards=5"], "shard=5: expected a whole number from 0 to shards-1, 4"),
        (["shards=0"], "shards=0: "),
        (["shards=5"], r"5 of 5 shards are not finished \(0, 1, 2, ...\)"),
        (["-m"], "-m: expected shards=N"),
        (["-m", "shards=5", "shard=1"], "shard=1: not with -m"),
        (["-m", "shards=5", "launcher.devices=2"], r"launcher\.devices=2: a shard is one process"),
        (["-m", "shards=5", "baseline=telea"], "expected exactly one of"),
    ],
)
def test_a_wrong_shard_is_one_line_and_nothing_is_written(words, tmp_path, keys, message):
    with pytest.raises(ValueError, match=message):
        main([*words, f"outdir={tmp_path}/out", *keys])
    assert not (tmp_path / "out").exists()


def test_shards_of_other_settings_are_refused_in_one_line(words, tmp_path, tiny_generator):
    out = tmp_path / "out"
    shard(words, out, 0)
    others = {
        r"batch_size=4 \(now: 5\)": ["batch_size=5"],
        r"metrics=.*\(now: \[\"psnr\"\]\)": ["metrics=[psnr]"],
        r"mask\.dilate=0 \(now: 2\)": ["mask.dilate=2"],
        r"model\.path=.*model.*\(now: null\), baseline=null \(now: telea\)": ["model.path=null", "baseline=telea"],
    }
    for message, more in others.items():
        for part in (["shard=1", "shards=3"], ["shards=3"], ["-m", "shards=3"])[: 1 if "metrics" not in message else 3]:
            with pytest.raises(ValueError, match=rf"outdir=.*begun with {message}") as caught:
                main([*words, f"outdir={out}", *more, *part])
            assert "\n" not in str(caught.value)
    with torch.no_grad():
        next(tiny_generator.parameters()).add_(1)
    save_generator(tmp_path / "model.safetensors", tiny_generator)  # the training has gone on
    with pytest.raises(ValueError, match=r"begun with model_sha256=\w+ \(now: \w+\);"):
        shard(words, out, 1)
    assert list(pieces(out)) == ["0-of-3.npz"]
    shard(words, out, 1, "overwrite=true")
    assert not (out / "metrics.json").exists()
    for number in range(SHARDS):
        shard(words, out, number)  # shard 0 too: its piece is of the former network
    main([*words, f"outdir={tmp_path}/alone"])
    assert content(out) == content(tmp_path / "alone")


def test_a_metric_that_is_not_available_to_one_shard_is_an_error(words, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shard(words, out, 0)
    monkeypatch.undo()  # no Inception any more
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"begun with weights_sha256\.fid_inception=the sha256 of a formula \(now: null"
    ):
        shard(words, out, 1)


def test_a_changed_file_repeats_its_shard_only(words, tmp_path, capsys):
    out = tmp_path / "out"
    for number in range(SHARDS):
        shard(words, out, number)
    before, tables = pieces(out), content(out)
    picture = tmp_path / "set/p05.png"
    Image.fromarray(255 - np.asarray(Image.open(picture))).save(picture)
    with pytest.raises(ValueError, match=r"1 of 3 shards are not finished \((\d)\)") as caught:
        main([*words, f"outdir={out}", f"shards={SHARDS}"])
    number = re.search(r"\((\d)\)", str(caught.value))[1]
    shard(words, out, number)
    assert [name for name, time in pieces(out).items() if before[name] != time] == [f"{number}-of-3.npz"]
    main([*words, f"outdir={tmp_path}/alone"])
    assert content(out) == content(tmp_path / "alone") != tables


def test_an_evaluation_of_another_origin_is_not_replaced(words, tmp_path):
    out = tmp_path / "out"
    main([*words, f"outdir={out}"])
    with pytest.raises(FileExistsError, match="holds an evaluation"):
        shard(words, out, 0)
    for number in range(SHARDS):
        shard(words, out, number, "overwrite=true")
    shard(words, out, 0)  # these tables are its own
    main([*words, f"outdir={out}", "overwrite=true", "grouping=none"])
    with pytest.raises(FileExistsError, match="holds an evaluation"):
        main([*words, f"outdir={out}", f"shards={SHARDS}"])


def test_predictions_and_clean_plates_are_files_of_a_shard(words, tmp_path):
    for image, _ in PairFolder(tmp_path / "set").paths:
        Image.fromarray(255 - np.asarray(Image.open(image))).save(image.with_name(f"{image.stem}_gt.png"))
    completed = tmp_path / "completed"
    completed.mkdir()
    for image, mask in PairFolder(tmp_path / "set", truth="_gt").paths:
        Image.open(image).save(completed / mask.name)
    given = [words[0], *words[2:], f"predictdir={completed}", "truth=_gt"]
    main([*given, f"outdir={tmp_path}/alone"])
    for number in range(SHARDS):
        shard(given, tmp_path / "out", number)
    assert content(tmp_path / "out") == content(tmp_path / "alone")
    evaluation = Evaluation(READ([*given, f"outdir={tmp_path}/out"]))
    assert [name for name, _ in evaluation.files[0]] == ["p00.png", "p00_mask000.png", "p00_gt.png", "p00_mask000"]


@pytest.fixture
def jobs(monkeypatch):
    """Jobs that run in this process, or fail if they are in ``fails``; the shards that ran, and ``fails``."""
    ran, fails = [], set()

    def run(shards, works):
        for piece in works:
            ran.append(piece.number)
            if piece.number in fails:
                record(shards, piece, state=FAILED, error="killed by SIGKILL")
            else:
                one_shard(Evaluation(READ(list(shards.arguments))), Shard(piece.number, shards.shards))
                record(shards, piece, state=DONE)

    monkeypatch.setattr(evaluate, "launch", run)
    return ran, fails


def test_the_same_command_starts_only_unfinished_shards_and_prints_the_table(words, tmp_path, jobs, capsys):
    ran, fails = jobs
    asked = ["-m", f"shards={SHARDS}", *words, f"outdir={tmp_path}/out"]
    fails |= {0, 2}
    with pytest.raises(SystemExit, match="1"):
        main(asked)
    assert "shard0002  failed  killed by SIGKILL" in capsys.readouterr().err
    sweep(["status", str(tmp_path / "out")])
    assert "3 in all: 1 done, 2 failed" in capsys.readouterr().out
    with pytest.raises(ValueError, match="results in shards"):
        sweep(["resubmit", str(tmp_path / "out")])
    fails.clear()
    main(asked)
    assert ran == [0, 1, 2, 0, 2]
    assert "| total |" in capsys.readouterr().out
    main(asked)
    assert len(ran) == 5
    assert "| total |" in capsys.readouterr().out
    (tmp_path / "out/.shards/shards.yaml").unlink()
    sweep(["status", str(tmp_path / "out")])
    assert "3 of 3 shards are finished" in capsys.readouterr().out
    main([*words, f"outdir={tmp_path}/alone"])
    assert content(tmp_path / "out") == content(tmp_path / "alone")


def test_shards_are_one_array_of_a_cluster_and_not_submitted_twice(words, tmp_path, monkeypatch):
    calls = a_slurm(tmp_path / "slurm", monkeypatch)
    asked = ["-m", f"shards={SHARDS}", *words, f"outdir={tmp_path}/out", "launcher=slurm", "launcher.gpus=false"]
    main(asked)
    assert "#SBATCH --array=0-2%3" in (tmp_path / "slurm/script0").read_text()
    (tmp_path / "slurm/queue").write_text("".join(f"10_{i} PENDING\n" for i in range(SHARDS)))
    with pytest.raises(ValueError, match="shards=6: jobs of shards=3 are at work"):
        main([*asked, "shards=6"])
    with pytest.raises(ValueError, match=r"begun with batch_size=4 \(now: 2\)"):
        main([*asked, "batch_size=2"])
    (tmp_path / "slurm/queue").write_text("10_1 RUNNING\n")
    shard(words, tmp_path / "out", 0)
    main(asked)  # neither the finished shard nor the one at work
    assert calls("sbatch") == 2
    assert "--array" not in (tmp_path / "slurm/script1").read_text()  # a single job


@pytest.mark.slow
def test_real_processes_one_of_them_killed(tmp_path, tiny_generator):
    """Three at a time, with an Inception of random weights; the killed one is repeated by the command with -m."""
    make_set(tmp_path / "set", 15)
    save_generator(tmp_path / "model.safetensors", tiny_generator)
    torch.manual_seed(0)
    torch.save(random_inception().state_dict(), tmp_path / "inception.pth")
    words = [sys.executable, "-m", "lama", "evaluate", f"indir={tmp_path}/set", METRICS, "batch_size=4", "min_images=4",
             f"model.path={tmp_path}/model.safetensors", f"weights.fid_inception={tmp_path}/inception.pth"]  # fmt: skip
    out, parts = tmp_path / "out", ["shard=0", "shard=1", "shard=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    begin = partial(subprocess.Popen, env=environment, stderr=subprocess.PIPE, text=True)
    running = [begin([*words, f"outdir={out}", part, "shards=3"]) for part in parts]
    for line in iter(running[1].stderr.readline, ""):
        if re.search(r" [1-9]\d*/\d+", line):  # it has measured a batch
            break
    running[1].kill()
    assert [process.wait() for process in running] == [0, -signal.SIGKILL, 0]
    assert sorted(pieces(out)) == ["0-of-3.npz", "2-of-3.npz"]
    done = subprocess.run([*words, f"outdir={out}", "-m", "shards=3"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 of 3 shards to start" in done.stderr
    assert "| total |" in done.stdout
    subprocess.run([*words, f"outdir={tmp_path}/alone"], env=environment, check=True, capture_output=True)
    assert content(out) == content(tmp_path / "alone")

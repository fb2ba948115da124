"""The commands of bin/, end to end on a tiny model: good input and bad."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from commands import command, last_line, program
from PIL import Image

from lama.checkpoints import save_generator
from lama.data.evaluation_set import write_pairs
from lama.interfaces import EvaluationPair
from lama.verbs import spelled, typed, typed_alike


def a_pair(name, height=40, width=50):
    rng = np.random.default_rng(0)
    mask = np.zeros((height, width), bool)
    mask[10:20, 10:30] = True
    return EvaluationPair(f"{name}_mask000", rng.integers(0, 256, (height, width, 3), np.uint8), mask)


@pytest.fixture
def model(tmp_path, tiny_generator):
    save_generator(tmp_path / "model.safetensors", tiny_generator)
    return tmp_path / "model.safetensors"


@pytest.fixture
def pairs(tmp_path):
    return write_pairs([a_pair("a"), a_pair("b", 33, 47)], tmp_path / "pairs with (odd) = name")


@pytest.mark.slow
def test_the_readmes_journey_on_a_tiny_network(root, tmp_path):
    run = tmp_path / "runs" / "tiny"
    settings = ["-cn", "demo", "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4", "augment.size=64",
                "trainer.max_epochs=1", "data.epoch_size=4", "data.batch_size=2", "data.val_per_image=1",
                "data.num_workers=0", f"run_dir={run}"]  # fmt: skip
    code, _, errors = program(root, "train.py", *settings, cwd=tmp_path)
    assert code == 0, errors
    code, _, errors = program(root, "train.py", *settings, cwd=tmp_path)  # again: it is over
    assert code == 0, errors
    done = f"{run}: has trained all of its 1 epochs; train on with trainer.max_epochs=2, say"
    assert last_line(errors) == done
    code, _, errors = program(root, "train.py", *settings, "recipe.clip_norm=2", "resume=auto", cwd=tmp_path)
    assert code == 2
    assert "begun with recipe.clip_norm=1.0 (now: 2)" in last_line(errors)
    code, _, errors = program(root, "report.py", f"run={run}", cwd=tmp_path)
    assert code == 0, errors
    methods = json.loads((run / "metrics.json").read_text())["methods"]
    assert list(methods) == ["LaMa (this run)", "OpenCV Telea", "OpenCV Navier-Stokes", "mean colour"]
    assert methods["mean colour"]["fid"]["note"].startswith("not available: pt_inception")
    page = (run / "report.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("data:image/jpeg") >= 10
    assert f"run={run}" in page
    predictions = tmp_path / "predictions"
    arguments = [f"model.path={run}/models/last.safetensors", f"indir={run}/evaluation_set", f"outdir={predictions}"]
    code, _, errors = program(root, "predict.py", *arguments, "fast=false", "strategy=full", cwd=tmp_path)
    assert code == 0, errors
    results = {}
    for name, what in (("a", f"predictdir={predictions}"), ("b", f"model.path={run}/models/last.safetensors")):
        arguments = [what, f"indir={run}/evaluation_set", f"outdir={tmp_path / name}"]
        code, _, errors = program(root, "evaluate.py", *arguments, cwd=tmp_path)
        assert code == 0, errors
        results[name] = json.loads((tmp_path / name / "metrics.json").read_text())["overall"]
    assert results["a"] == results["b"]  # files and model are measured alike
    for metric, result in methods["LaMa (this run)"].items():
        assert results["a"][metric]["mean"] == pytest.approx(result["mean"]), metric
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "predictions", "runs"]  # no stray files


@pytest.mark.parametrize("quote", ["", "'"])  # Hydra wants odd values in quotes; for paths both ways work
def test_predict_fills_a_folder_with_an_odd_name(root, tmp_path, model, pairs, quote):
    out = tmp_path / "results (1)"
    places = [f"indir={quote}{pairs}{quote}", f"outdir={quote}{out}{quote}"]
    code, _, errors = command(root, "predict.py", f"model.path={model}", *places)
    assert code == 0, errors
    for name, size in (("a_mask000.png", (50, 40)), ("b_mask000.png", (47, 33))):
        assert Image.open(out / name).size == size


def test_predict_fills_one_image(root, tmp_path, model, pairs):
    image, mask = pairs / "a.png", pairs / "a_mask000.png"
    out = tmp_path / "deep" / "b.png"
    arguments = [f"model.path={model}", f"image='{image}'", f"mask='{mask}'", f"out={out}"]
    code, _, errors = command(root, "predict.py", *arguments)
    assert code == 0, errors
    truth, result, hole = (np.asarray(Image.open(p)) for p in (image, out, mask))
    assert (truth[hole == 0] == result[hole == 0]).all()
    assert (truth[hole > 0] != result[hole > 0]).any()


def test_predict_does_the_rest_where_one_pair_is_bad(root, tmp_path, model):
    folder = write_pairs([a_pair("good"), a_pair("small"), a_pair("broken")], tmp_path / "in")
    Image.new("L", (7, 7), 255).save(folder / "small_mask000.png")
    (folder / "broken.png").write_bytes((folder / "broken.png").read_bytes()[:500])
    Image.new("L", (50, 40), 255).save(folder / "alone_mask000.png")
    out = tmp_path / "out"
    code, _, errors = command(root, "predict.py", f"model.path={model}", f"indir={folder}", f"outdir={out}")
    assert code == 1
    assert last_line(errors).startswith("error: ")
    assert [path.name for path in out.iterdir()] == ["good_mask000.png"]
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    for part in ("mask is 7 x 7, but its image small.png is 50 x 40", "broken.png: not a readable image",
                 "alone_mask000.png: mask without an image"):  # fmt: skip
        assert any(part in line for line in lines), part


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("predict.py", ["model.path=nowhere", "indir=.", "outdir=out"], "nowhere: no model there"),
        ("predict.py", ["model.path=lama-smal", "indir=.", "outdir=out"], "do you mean small?"),
        ("predict.py", ["model.path={model}", "indir=nowhere", "outdir=out"], "nowhere: no such folder"),
        ("predict.py", ["model.path={model}", "indir=empty", "outdir=out"], "empty: expected images"),
        ("predict.py", ["model.path={model}", "outdir=out"], "expected one of: indir= outdir=; "),
        ("predict.py", ["model.path={model}", "indir=other", "outdir=other"], "is indir"),
        ("predict.py", ["model.path={model}", "indir=pairs", "outdir=out", "mask.invert=yes"], "mask.invert: expected"),
        ("predict.py", ["model.path={model}", "indir=pairs", "outdir=out", "mask.dilat=1"], "mean mask.dilate?"),
        ("predict.py", ["model.path=pairs/a.png", "indir=pairs", "outdir=out"], "pairs/a.png"),
        ("predict.py", ["indir=empty", "outdir=out"], "empty: expected images"),
        ("predict.py", ["model.path={model}", "indirr=a"], "indirr: unknown config key; did you mean indir?"),
        ("evaluate.py", ["indir=pairs", "predictdir=empty", "outdir=out"], "empty: expected images"),
        ("evaluate.py", ["indir=pairs", "predictdir=other", "outdir=out"], "1 of 1 predictions are missing"),
        ("evaluate.py", ["indir=pairs", "outdir=out"], "expected exactly one of predictdir, model.path"),
        ("evaluate.py", ["indir=pairs", "model.path={model}", "outdir=out", "metrics=[psnrr]"], "unknown 'psnrr'"),
        ("report.py", ["run=nowhere"], "nowhere/config.yaml: no such file"),
        ("train.py", ["-cn", "lama-fourier", "data=builtin"], "weights.ade20k_encoder"),
        ("train.py", [], "-cn NAME"),
        ("train.py", ["-cn", "demo", "init_from=nowhere"], "init_from=nowhere: no model there"),
        ("train.py", ["-cn", "demo", "init_from={model}", "resume=x"], "init_from="),
        ("train.py", ["-cn", "finetune", "data.path=.", "init_from=null"], "init_from: missing"),
        ("train.py", ["-cn", "demo", "init_parts=both"], "init_parts=both: needs init_from=PATH"),
        ("convert.py", ["src={model}"], "dst: a value is required"),
        ("convert.py", ["src=nowhere", "dst=out"], "src=nowhere: no model there"),
        ("convert.py", ["src={model}", "dst=out.ckpt"], "dst=out.ckpt: expected a name ending in .safetensors"),
        ("convert.py", ["src={model}", "dst=out", "discriminator=true"], "holds no discriminator of LaMa"),
        ("train.py", ["-cn", "demo", "data=folder", "data.path=empty"], "empty: expected images"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(root, tmp_path, model, name, arguments, expected):
    (tmp_path / "empty").mkdir()
    write_pairs([a_pair("a")], tmp_path / "pairs")
    write_pairs([a_pair("other")], tmp_path / "other")
    before = sorted(tmp_path.rglob("*"))
    arguments = [argument.format(model=model) for argument in arguments]
    code, _, errors = command(root, name, *arguments, cwd=tmp_path)
    assert code == 2, errors
    assert last_line(errors).startswith("error: ")
    assert expected in last_line(errors)
    assert "Traceback" not in errors
    assert sorted(tmp_path.rglob("*")) == before  # nothing half-written


def test_an_unreadable_training_image_is_named(root, tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (80, 80, 3), np.uint8)).save(
            tmp_path / f"photos/{i}.png"
        )
    (tmp_path / "photos/1.png").write_bytes(b"no image")
    arguments = ["-cn", "demo", "data=folder", "data.path=photos", "data.batch_size=2", "data.num_workers=1",
                 "augment.size=64", "generator.ngf=4", "generator.n_blocks=1", "data.epoch_size=4",
                 "trainer.max_epochs=1"]  # fmt: skip
    code, _, errors = command(root, "train.py", *arguments, cwd=tmp_path)
    assert code == 2, errors
    assert "1.png: not a readable image" in last_line(errors)
    assert not (tmp_path / "runs" / "demo").exists()  # no empty run is left


@pytest.mark.slow
def test_importing_torchvision_with_another_build_of_torch_works():
    code = "import lama.torchvision_ops, torchvision, lpips, pytorch_lightning"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert torch.__version__


def test_the_official_command_trains_on_the_official_layout(root, tmp_path):
    data = tmp_path / "my data"
    for i in range(3):
        image = np.random.default_rng(i).integers(0, 256, (300, 280, 3), np.uint8)
        write_pairs([EvaluationPair(f"{i}_mask000", image, np.ones((300, 280), bool))], data / "unused")
        (data / "train" / "deep").mkdir(parents=True, exist_ok=True)
        (data / "unused" / f"{i}.png").rename(data / "train" / "deep" / f"{i}.PNG")
    write_pairs([a_pair("v")], data / "val")
    arguments = ["-cn", "lama-fourier", "location=my_dataset", f"location.data_root_dir='{data}'", "data.batch_size=2",
                 "losses.resnet_pl.weight=0", "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4",
                 "data.epoch_size=4", "trainer.max_epochs=1", f"location.out_root_dir={tmp_path}/out"]  # fmt: skip
    code, _, errors = command(root, "train.py", *arguments, cwd=tmp_path)
    assert code == 0, errors
    assert (tmp_path / "out" / "lama-fourier" / "models" / "best.safetensors").is_file()


def test_help_shows_how_a_command_is_used_and_what_every_key_means(root):
    code, out, _ = command(root, "predict.py", "--help")
    assert code == 0
    assert "python bin/predict.py image=a.jpg mask=m.png out=b.png" in out
    assert "feather: 0  " in out
    assert "_target_" not in out
    code, out, _ = command(root, "train.py", "-m", "sweep=claims", "--help")
    assert code == 0
    assert "seeds: [0]  " in out


def test_a_command_explains_itself_before_it_imports_torch():
    code = """
import contextlib, io, sys
from lama.commands import run_verb
from lama.verbs import VERBS
for verb in VERBS:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        run_verb(verb, ["--help"])
    assert f"lama {verb}" in out.getvalue() or f"bin/{VERBS[verb].script}.py" in out.getvalue(), verb
    assert "torch" not in sys.modules, verb
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("argv", "verb", "printed"), [
    ("/x/bin/lama", "masks", "lama masks"), ("/x/lama/__main__.py", "masks", "python -m lama masks"),
    ("bin/train.py", "masks", "python bin/gen_mask_dataset.py"), ("-c", "train", "python bin/train.py"),
])  # fmt: skip
def test_a_command_is_printed_as_the_user_types_it(monkeypatch, argv, verb, printed):
    monkeypatch.setattr("sys.argv", [argv])
    assert typed(verb) == printed
    assert spelled(f"run lama {verb} KEY=VALUE") == f"run {printed} KEY=VALUE"


@pytest.mark.parametrize(("command", "printed"), [
    ("lama train -cn demo", "lama report"), ("python -m lama train -cn demo", "python -m lama report"),
    ("python 'my code/bin/train.py' -cn demo", "python 'my code/bin/report.py'"),
])  # fmt: skip
def test_other_commands_are_named_like_the_one_that_was_typed(command, printed):
    assert typed_alike(command, "report") == printed


STOPPED = """
import atexit, logging, sys
from lama import commands
assert "tqdm" not in sys.modules  # the less is imported before Ctrl-C is caught, the better
def stop(name):
    atexit.register(lambda: logging.getLogger("torch._subclasses.fake_tensor").info("cache stats"))
    raise KeyboardInterrupt
commands.importlib.import_module = stop
commands.run_verb("predict", [])
"""


def test_ctrl_c_during_the_imports_is_one_line(root):
    done = subprocess.run([sys.executable, "-c", STOPPED], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()) == (130, ["interrupted"])

"""The commands of the article and of the official README, typed as printed, on small data.

Only what a command needs to be quick is added, in ``SMALL``; placeholders of the README (<user>, <size>) are filled in.
"""

import importlib
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from formula import fill
from PIL import Image
from test_foreign_checkpoints import lightning_checkpoint

from lama.checkpoints import load_generator, save_official
from lama.commands import run_verb
from lama.evaluation.official_table import write_official_table
from lama.models import FFCResNetGenerator
from lama.pictures.prediction_set import find
from lama.verbs import VERBS

ROOT = Path(__file__).resolve().parent.parent
RUN = "$(pwd)/experiments/user_2021-04-30_14-41-12_lama-fourier_"
SMALL = (
    "generator.ngf=4 generator.n_blocks=1 discriminator.ndf=4 discriminator.n_layers=1 losses.resnet_pl.weight=0 "
    "trainer.max_epochs=1 trainer.accelerator=cpu data.epoch_batches=1 data.num_workers=0 augment.size=128"
)
PRINTED = {  # in the order of the README
    "predict": "python3 bin/predict.py model.path=$(pwd)/big-lama indir=$(pwd)/LaMa_test_images outdir=$(pwd)/output",
    "refine": "python3 bin/predict.py refine=True model.path=$(pwd)/big-lama indir=$(pwd)/LaMa_test_images "
              "outdir=$(pwd)/output_refined",
    "article": "bin/predict.py model.path=$(pwd)/big-lama indir=$(pwd)/jpeg outdir=$(pwd)/output_jpeg "
               "dataset.img_suffix=.jpeg",
    "places": "python3 bin/train.py -cn lama-fourier location=places_standard",
    "places, predict": f"python3 bin/predict.py model.path={RUN}/ "
                       "indir=$(pwd)/places_standard_dataset/evaluation/random_thick_512/ "
                       "outdir=$(pwd)/inference/random_thick_512 model.checkpoint=last.ckpt",
    "places, evaluate": "python3 bin/evaluate_predicts.py $(pwd)/configs/eval2_gpu.yaml "
                        "$(pwd)/places_standard_dataset/evaluation/random_thick_512/ $(pwd)/inference/random_thick_512 "
                        "$(pwd)/inference/random_thick_512_metrics.csv",
    "celeba": "python3 bin/train.py -cn lama-fourier-celeba data.batch_size=10",
    "masks": "python3 bin/gen_mask_dataset.py $(pwd)/configs/data_gen/random_thick_512.yaml my_dataset/val_source/ "
             "my_dataset/val/random_thick_512.yaml --ext jpg",
    "eval set": "python3 bin/gen_mask_dataset.py $(pwd)/configs/data_gen/random_thin_512.yaml my_dataset/eval_source/ "
                "my_dataset/eval/random_thin_512/ --ext jpg",
    "own data": "python3 bin/train.py -cn lama-fourier location=my_dataset data.batch_size=10",
    "own data, predict": f"python3 bin/predict.py model.path={RUN}/ indir=$(pwd)/my_dataset/eval/random_thin_512/ "
                         "outdir=$(pwd)/inference/my_dataset/random_thin_512 model.checkpoint=epoch32.ckpt",
    "own data, evaluate": "python3 bin/evaluate_predicts.py $(pwd)/configs/eval2_gpu.yaml "
                          "$(pwd)/my_dataset/eval/random_thin_512/ $(pwd)/inference/my_dataset/random_thin_512 "
                          "$(pwd)/inference/my_dataset/random_thin_512_metrics.csv",
    "hint": "python3 bin/train.py -cn lama-regular data.batch_size=10 run_title=my-title",
    "old keys": "python3 bin/predict.py model.path=$(pwd)/big-lama indir=$(pwd)/LaMa_test_images "
                "outdir=$(pwd)/output_old model.checkpoint=best.ckpt dataset.kind=default dataset.img_suffix=.png "
                "dataset.pad_out_to_modulo=32 out_key=predicted_image refine=False refiner.gpu_ids=0, device=cpu "
                "+out_ext=.jpg",
}  # fmt: skip


def photo(path, size, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    waves = np.sin(np.arange(size * size * 3).reshape(size, size, 3) / (300 + seed)) * 100 + 128
    Image.fromarray(waves.astype(np.uint8)).save(path)


def pair(folder, name, size=64, suffix=".png"):
    photo(folder / f"{name}{suffix}", size)
    mask = np.zeros((size, size), np.uint8)
    mask[20:40, 10:40] = 255
    Image.fromarray(mask).save(folder / f"{name}_mask001.png")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder as the README describes it; the commands run in it one after the other, as printed."""
    here = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "configs", here / "configs")
    generator = fill(FFCResNetGenerator(ngf=4, n_blocks=1))
    for folder, names in (("big-lama", ["best"]), (RUN.partition("/")[2], ["last", "epoch32"])):
        save_official(here / folder, generator)
        for name in names:
            lightning_checkpoint(here / folder / "models" / f"{name}.ckpt", generator)
    pair(here / "LaMa_test_images", "a")
    pair(here / "jpeg", "a", suffix=".jpeg")
    photo(here / "jpeg" / "a.jpg", 64, seed=1)  # another picture of that name
    pair(here / "places_standard_dataset/evaluation/random_thick_512", "a")
    for dataset, train in (("places_standard_dataset", "train"), ("celeba-hq-dataset", "train_256")):
        photo(here / dataset / train / "a.jpg", 128)
        pair(here / dataset / train.replace("train", "val"), "b")
    for folder in ("train", "val_source", "eval_source"):
        photo(here / "my_dataset" / folder / "a.jpg", 512)
    (here / "configs/training/location/my_dataset.yaml").write_text(
        f"# @package _group_\ndata_root_dir: {here}/my_dataset/\nout_root_dir: {here}/experiments/\n"
        f"tb_dir: {here}/tb_logs/\n"
    )
    return here


@pytest.fixture
def typed(clone, monkeypatch, caplog, capsys):
    """A function: run a command as printed; returns (exit code, everything that it wrote)."""
    monkeypatch.chdir(clone)
    monkeypatch.setenv("LAMA_OFFLINE", "1")
    monkeypatch.setenv("LAMA_WEIGHTS", str(clone / "cache"))
    for module in ("command_line", "composing", "hydra_composing", "evaluation_sets"):
        monkeypatch.setattr(importlib.import_module(f"lama.config.{module}"), "CONFIGS", clone / "configs")

    def run(command, *more):
        caplog.set_level("INFO")
        words = [w for w in shlex.split(command.replace("$(pwd)", str(clone))) if not w.startswith("python")]
        verb = next(verb for verb, one in VERBS.items() if f"bin/{one.script}.py" == words[0])
        try:
            run_verb(verb, words[1:] + (SMALL.split() + list(more) if verb == "train" else []))
        except SystemExit as exit_code:
            return exit_code.code or 0, caplog.text + "".join(capsys.readouterr())
        return 0, caplog.text + "".join(capsys.readouterr())

    return run


def test_every_command_runs_as_printed(typed, clone):
    said = {}
    for name, command in PRINTED.items():
        command = command.replace("lama-regular ", "lama-regular location=my_dataset ") if name == "hint" else command
        code, said[name] = typed(command, *(["dry_run=true"] if name in ("celeba", "hint") else []))
        assert code == 0, (name, said[name])
    pixels = {path.parent.name: np.asarray(Image.open(path)) for path in clone.glob("output*/a_mask001.*")}
    assert set(pixels) == {"output", "output_refined", "output_jpeg", "output_old"}
    known = np.s_[:8, :8]
    original = np.asarray(Image.open(clone / "LaMa_test_images/a.png"))
    assert (pixels["output"][known] == original[known]).all()
    assert not (pixels["output_old"][known] == original[known]).all()  # the network's own pixels
    assert (clone / "output_old/a_mask001.jpg").is_file()
    jpeg = np.asarray(Image.open(clone / "jpeg/a.jpeg"))
    assert (pixels["output_jpeg"][known] == jpeg[known]).all()
    for key in ("dataset.pad_out_to_modulo=32", "refiner.gpu_ids=0,"):
        assert key in said["old keys"]
    assert "tb_dir" in said["own data"]
    table = (clone / "inference/random_thick_512_metrics.csv").read_text().splitlines()
    assert table[0].split("\t")[0] == ""
    assert [line.split("\t")[0] for line in table[2:]] == ["10-20%", "total"]


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (PRINTED["predict"] + "2 out_key=middle", ["out_key=middle", "predicted_image"]),
        (PRINTED["predict"] + "2 model.checkpoint=epoch=9.ckpt", ["epoch=9.ckpt", "models/best.ckpt"]),
        (PRINTED["predict"] + "2 dataset.img_suffix=_input.png", ["a_mask001.png"]),
        (PRINTED["places, evaluate"].replace("eval2_gpu", "eval3_gpu"), ["eval3_gpu", "eval2_gpu"]),
    ],
)
def test_a_mistake_in_an_official_command_is_one_line(typed, command, parts):
    code, said = typed(command)
    assert code == 2
    assert all(part in said.strip().splitlines()[-1] for part in parts)


def test_the_table_has_the_official_layout(tmp_path):
    class Measured:
        def compute(self):
            numbers = {"lpips_vgg": {"mean": 0.25, "std": 0.125, "n": 2}, "fid": {"mean": 12.34567, "n": 2}}
            return numbers | {"ssim": {"mean": 0.5, "std": 0.0, "n": 2}, "lpips_fid100_f1": {"mean": None, "n": 2}}

        def compute_groups(self):
            return {"0-10%": self.compute() | {"fid": {"mean": None, "n": 1}}}

    text = write_official_table(tmp_path / "out.csv", Measured())
    assert (tmp_path / "out.csv").read_text() == text
    assert [line.split("\t") for line in text.splitlines()] == [
        ["", "fid", "lpips", "lpips", "ssim", "ssim"],
        ["", "mean", "mean", "std", "mean", "std"],
        ["0-10%", "", "0.2500", "0.1250", "0.5000", "0.0000"],
        ["total", "12.3457", "0.2500", "0.1250", "0.5000", "0.0000"],
    ]


def test_an_official_configuration_of_metrics_is_read(tmp_path):
    from lama.config.official import official_evaluation

    file = tmp_path / "mine.yaml"
    file.write_text("evaluator_kwargs: {batch_size: 3}\ndataset_kwargs: {img_suffix: _input.png}\n"
                    "segmentation: {enable: true}\n")  # fmt: skip
    settings, notes = official_evaluation(str(file))
    assert (settings["batch_size"], settings["img_suffix"], len(notes)) == (3, "_input.png", 1)


def test_a_checkpoint_of_a_run_of_ours_is_named_alike(clone, tmp_path):
    from lama.checkpoints import in_folder

    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    state = load_generator(clone / "big-lama").state_dict()
    torch.save({"state_dict": {f"generator.{k}": v for k, v in state.items()}}, tmp_path / "run/checkpoints/last.ckpt")
    assert in_folder(tmp_path / "run", "last.ckpt") == tmp_path / "run/checkpoints/last.ckpt"
    assert in_folder("big-lama", "best.ckpt") == "big-lama"


def test_a_mask_whose_image_has_another_suffix_than_img_suffix_says_which_was_asked_for(tmp_path):
    for name in ("a.png", "a_mask000.png"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    places = {"indir": str(tmp_path), "outdir": str(tmp_path / "out")}
    assert len(find(places, img_suffix=".png").items) == 1
    with pytest.raises(ValueError, match=r"a_mask000\.png: .*expected a\.jpeg \(dataset\.img_suffix=\.jpeg\)"):
        find(places, img_suffix=".jpeg")

"""Validation during training: official names, the choice of the best weights, sets shared by processes."""

import json

import numpy as np
import pytest
import torch
from networks import TinyInception
from PIL import Image
from processes import two_processes
from trainings import make_data, make_module, run_into

from lama.data.equal_sizes import batches_of_one_size
from lama.evaluation import Evaluator
from lama.runs.callbacks import read_metrics
from lama.runs.monitor import choose_monitor


@pytest.fixture
def tiny_inception(monkeypatch):
    monkeypatch.setattr(
        "lama.evaluation.inception.fid_inception", lambda weights: (TinyInception(), "the sha256 of TinyInception")
    )


def validate(module, data):
    """Every validation metric of a module, as it is logged."""
    logged = {}
    module.log_dict = lambda values: logged.update(values)
    module.log = lambda *_: None
    module.eval()
    with torch.no_grad():
        for i, batch in enumerate(data.val_dataloader()):
            module.validation_step(batch, i)
    module.on_validation_epoch_end()
    return logged


def module_with_fid():
    torch.manual_seed(0)
    module = make_module()
    module.evaluator = Evaluator(
        ["psnr_hole", "ssim", "fid", "ssim_fid100_f1"], min_images=2, intervals=False, grouping="lama_online"
    )
    return module


def test_the_official_names_are_logged_for_every_group(tiny_inception):
    logged = validate(module_with_fid(), make_data(val_per_image=4))
    totals = {name for name in logged if "_total_" in name}
    assert totals == {
        "val_psnr_hole_total_mean", "val_psnr_hole_total_std", "val_ssim_total_mean", "val_ssim_total_std",
        "val_fid_total_mean", "val_ssim_fid100_f1_total_mean",
    }  # fmt: skip
    groups = {name.split("_")[-2] for name in logged if name.startswith("val_ssim_") and "fid" not in name}
    assert groups - {"total"} <= {f"{10 * i}-{10 * i + 10}%" for i in range(10)}
    assert len(groups) > 1


def process(rank, world, folder):
    """One of several processes of a validation: writes its logged values."""
    import torch.distributed

    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "lama.evaluation.inception.fid_inception", lambda weights: (TinyInception(), "the sha256 of TinyInception")
        )
        module = module_with_fid()
        data = make_data(val_per_image=3)
        logged = validate(module, data) | {"seen": len(data.val_dataloader())}
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(logged, file)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_share_the_validation_set_and_log_the_same_numbers(tiny_inception, tmp_path, root):
    data = make_data(val_per_image=3)
    alone = validate(module_with_fid(), data)
    first, second = two_processes("test_validation", tmp_path, root)
    assert first.pop("seen") + second.pop("seen") == len(data.val_pairs)
    assert first == second
    assert first == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize(
    ("metrics", "images", "expected"),
    [
        (["psnr", "ssim", "fid", "ssim_fid100_f1"], 100, ("val_ssim_fid100_f1_total_mean", "max")),
        (["psnr", "ssim", "fid", "ssim_fid100_f1"], 99, ("val_ssim_total_mean", "max")),
        (["l1"], 5, ("val_l1_total_mean", "min")),
    ],
)
def test_the_best_is_chosen_as_published_where_that_is_measured(tiny_inception, metrics, images, expected):
    assert choose_monitor("auto", Evaluator(metrics), images) == expected


def test_without_an_fid_lpips_chooses_before_ssim():
    evaluator = Evaluator(["ssim", "psnr"])
    evaluator.metrics = ["ssim", "lpips_squeeze"]  # as if its weights were there
    assert choose_monitor("auto", evaluator, 10) == ("val_lpips_squeeze_total_mean", "min")


@pytest.mark.parametrize(
    ("monitor", "why"),
    [
        ("val_fid_total_mean", "99 images"),
        ("val_ssim", ".*auto.*val_ssim_total_mean"),
        ("val_lpips_vgg_total_mean", ".*val_ssim_total_mean"),
        ("train_gen_l1", ".*val_ssim_total_mean"),
    ],
)
def test_a_monitor_that_will_not_be_measured_is_refused(tiny_inception, monitor, why):
    with pytest.raises(ValueError, match=f"monitor={monitor}: .*{why}"):
        choose_monitor(monitor, Evaluator(["ssim", "fid"]), 99)


def test_the_start_of_a_run_says_what_chooses_the_best_weights(tmp_path):
    run = run_into(tmp_path / "run")
    chosen = "best weights: by val_ssim_total_mean (published: val_ssim_fid100_f1_total_mean)"
    assert chosen in (run / "train.log").read_text()
    assert "val_ssim_total_mean" in read_metrics(run / "metrics.csv")


def test_a_resumed_run_with_another_monitor_chooses_anew(tmp_path):
    run = run_into(tmp_path / "run", monitor="val_psnr_hole_total_mean")
    last = str(run / "checkpoints/last.ckpt")
    run_into(run, resume=last, monitor="val_ssim_total_mean", trainer={"max_epochs": 2})
    both = ("val_psnr_hole_total_mean", "val_ssim_total_mean")
    assert any(all(name in line for name in both) for line in (run / "train.log").read_text().splitlines())


def test_a_training_with_metrics_whose_weights_are_missing_ends_before_it_starts(monkeypatch):
    monkeypatch.setenv("LAMA_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"pt_inception.*evaluator=pixels"):
        Evaluator.preflight(["ssim", "ssim_fid100_f1"], {})
    Evaluator.preflight("quick", {})


def test_pairs_of_one_size_are_validated_together_with_equal_scores(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate([(40, 56), (56, 40), (40, 56), (40, 56)]):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        mask = np.zeros((56, 40) if i == 3 else (height, width), np.bool_)
        mask[8:20, 8:20] = True
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 3 else 1  # lies on its side: upright it is 40 x 56
        image.save(tmp_path / f"{i}.png", exif=exif)
        Image.fromarray(mask).save(tmp_path / f"{i}_mask000.png")
    data, module = make_data(val_path=None, val_pairs=str(tmp_path)), make_module().eval()
    assert [len(batch["name"]) for batch in data.val_dataloader()] == [1, 1, 1, 1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    loader = data.val_dataloader()
    data.val_pairs = list(data.val_pairs)  # as ``debug`` has them
    assert sorted(map(sorted, data.val_dataloader().batch_sampler)) == [[0, 2], [1, 3]]
    monkeypatch.undo()
    batches = list(loader)
    assert sorted(batch["name"] for batch in batches) == [["0_mask000", "2_mask000"], ["1_mask000", "3_mask000"]]
    alone = make_module().eval()
    with torch.no_grad():
        for batch in batches:
            module.validation_step(batch, 0)
            for i, name in enumerate(batch["name"]):
                one = {"name": [name], "image": batch["image"][i : i + 1], "mask": batch["mask"][i : i + 1]}
                alone.validation_step(one, 0)
    for together, single in zip(module.evaluator.per_image(), alone.evaluator.per_image(), strict=True):
        assert together.pop("name") == single.pop("name")
        assert together == pytest.approx(single, rel=1e-5)


def test_a_batch_of_validation_is_bounded_in_pixels():
    sizes = [(256, 256)] * 20 + [(0, 0)] * 2 + [(4000, 3000)] * 2
    batches = batches_of_one_size(sizes, range(24))
    assert [len(batch) for batch in batches] == [8, 8, 4, 1, 1, 1, 1]
    assert batches_of_one_size(sizes, range(1, 24, 2))[0] == [1, 3, 5, 7, 9, 11, 13, 15]

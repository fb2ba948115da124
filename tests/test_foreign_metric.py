"""A metric from outside, a distance with a name of its own: it needs its class and one line in the registry.

Also the contract of ``lama.interfaces.Metric`` for every metric of the registry.
"""

import json
import runpy
import sys
from functools import partial
from math import inf

import numpy as np
import pytest
import torch
from trainings import make_data, make_module, run_into

from lama.data.evaluation_set import batches_by_size
from lama.evaluation import METRICS, Evaluator, higher_is_better
from lama.evaluation.compare import compare
from lama.evaluation.metrics import measures_sets, scores_images
from lama.evaluation.report import write_evaluation
from lama.evaluation.tables import best_method, latex_table, markdown_table
from lama.interfaces import EvaluationPair, ImageMetric, SetFeatures
from lama.paper.tables import make_tables
from lama.pretrained import WEIGHT_FILES
from lama.runs import Checkpoints
from lama.runs.callbacks import read_metrics
from lama.runs.monitor import choose_monitor
from lama.runs.report import make_report


class Roughness(ImageMetric):
    """The whole file of a foreign metric: the difference of the images' horizontal gradients. Lower is better."""

    label, higher_is_better, bounds = "Roughness", False, (0.0, 2.0)

    def score(self, completed, target, mask):
        return (completed.diff(dim=3) - target.diff(dim=3)).abs().flatten(1).mean(dim=1)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(METRICS, "roughness", Roughness)


def test_a_training_keeps_the_checkpoint_with_the_lowest_value_and_reports_the_metric(tmp_path, monkeypatch):
    module, data = make_module(), make_data()
    module.evaluator = Evaluator(["psnr_hole", "roughness"])
    run = run_into(
        tmp_path / "run", module, data=data, monitor="val_roughness_total_mean", trainer={"max_epochs": 2},
        checkpoints=partial(Checkpoints, keep_best=1),
    )  # fmt: skip
    iterations, values = read_metrics(run / "metrics.csv")["val_roughness_total_mean"]
    assert len(set(values)) == 2
    best = iterations[int(np.argmin(values))]
    assert [path.name for path in run.glob("checkpoints/iteration_*")] == [f"iteration_{int(best):07d}.ckpt"]
    monkeypatch.setattr(Roughness, "in_report", True)
    page = make_report(run, data, "cpu").read_text(encoding="utf-8")
    means = {name: results["roughness"]["mean"] for name, results in read_methods(run).items()}
    row = page[page.index(f"<tr><td>{min(means, key=means.get)}</td>") :].partition("</tr>")[0]
    assert f'<td class="best">{min(means.values()):.4g}</td>' in row
    assert page.index("lpips_vgg: not available") > page.index("roughness ↓")


def read_methods(run):
    return json.loads((run / "metrics.json").read_text())["methods"]


def test_monitor_auto_prefers_metrics_with_a_rank_and_knows_the_direction_of_others():
    assert choose_monitor("auto", Evaluator(["roughness", "ssim"]), 5) == ("val_ssim_total_mean", "max")
    assert choose_monitor("auto", Evaluator(["roughness"]), 5) == ("val_roughness_total_mean", "min")


def evaluated(folder, noise):
    """An evaluation of 6 images with so much noise in the hole, as bin/evaluate.py writes it."""
    rng = np.random.default_rng(0)
    mask = np.zeros((20, 24), bool)
    mask[5:15, 5:15] = True
    pairs = [EvaluationPair(f"image{i}", np.full((20, 24, 3), 100, np.uint8), mask) for i in range(6)]

    def complete(pair):
        value = pair.image + rng.integers(0, noise * (1 + int(pair.name[-1])), pair.image.shape)
        return np.where(mask[..., None], value, pair.image).astype(np.uint8)

    completed = {pair.name: complete(pair) for pair in pairs}
    evaluator = Evaluator(["roughness"])
    for names, *tensors in batches_by_size(pairs, lambda batch: [completed[pair.name] for pair in batch], 4):
        evaluator.update(names, *tensors)
    what = {"indir": "x", "predictions": "y", "images": 6, "evaluation_set": ["5e7"]}
    write_evaluation(folder, evaluator, what, lambda name: (pairs[0].image, mask, completed[name]))
    return evaluator.compute()


def test_in_tables_the_lowest_value_is_the_best(tmp_path):
    methods = {"rough": evaluated(tmp_path / "rough", 20), "smooth": evaluated(tmp_path / "smooth", 5)}
    rough, smooth = (methods[name]["roughness"]["mean"] for name in methods)
    assert rough > smooth
    assert best_method(methods, "roughness") == "smooth"
    assert markdown_table(methods).splitlines()[0] == "| method | roughness ↓ |"
    assert f"| smooth | **{smooth:.4g}** |" in markdown_table(methods)
    assert rf"smooth & \textbf{{{smooth:.4g}}}" in latex_table(methods)


def test_the_page_of_an_evaluation_shows_the_highest_value_as_the_worst(tmp_path):
    evaluated(tmp_path / "out", 10)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<td>roughness ↓</td>" in page
    worst, best = (page.index(f"{kind} images by roughness") for kind in ("Worst", "Best"))
    assert worst < page.index("<span>image5</span>") < best < page.index("<span>image0</span>")


def test_a_comparison_counts_lower_values_as_wins(tmp_path, monkeypatch, capsys, root):
    evaluated(tmp_path / "smooth", 5)
    evaluated(tmp_path / "rough", 20)
    result = compare(tmp_path / "smooth", tmp_path / "rough")["roughness"]
    assert (result["wins"], result["losses"]) == (6, 0)
    assert result["difference"] < 0
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tmp_path / "smooth"), str(tmp_path / "rough")])
    runpy.run_path(str(root / "bin" / "compare.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "| Roughness ↓ | rough |" in printed
    assert "| 6 | 0 | 0 |" in printed


def test_in_the_tables_of_the_paper_it_has_its_label_and_the_lowest_value_ranks_first(tmp_path):
    for run, noise in (("lama-fourier", 5), ("lama-regular", 20)):
        evaluated(tmp_path / "runs" / run / "random_thick_256", noise)
    tables, _ = make_tables(tmp_path / "runs", tmp_path / "out", ["roughness"], 256)
    ranks = {row.run: cell.ours_rank for row in tables[1].rows for cell in row.cells if cell.ours}
    assert ranks == {"lama-fourier": 1, "lama-regular": None}
    assert "Roughness ↓" in (tmp_path / "out" / "tables.md").read_text()


# Every metric


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_states_its_label_direction_bounds_and_files(name):
    metric = METRICS[name]
    assert isinstance(metric.label, str)
    assert metric.label
    assert isinstance(metric.higher_is_better, bool)
    low, high = metric.bounds
    assert low < high
    assert set(metric.weight_files) <= set(WEIGHT_FILES)
    kinds = [scores_images(name), measures_sets(name), hasattr(metric, "parts")]
    assert kinds.count(True) == 1
    assert set(getattr(metric, "parts", ())) <= set(METRICS)
    assert isinstance(metric.text(0.5), str)


def test_labels_are_unique():
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


# no distances to the target; tests/test_dots.py and tests/test_regions.py have their direction
ALONE = ("dots_2", "dots_4", "dots_8", "sharpness_error")
DISTANCES = [n for n in METRICS if scores_images(n) and not METRICS[n].weight_files and n not in ALONE]


@pytest.mark.parametrize("name", DISTANCES)
def test_scores_of_images_are_inside_the_bounds_and_equal_images_reach_the_better_one(name):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(4, 3, 24, 24, generator=generator)
    others = (torch.rand(4, 3, 24, 24, generator=generator), 1 - target, (target < 0.5).float())
    mask = torch.zeros(4, 1, 24, 24)
    mask[:, :, 6:18, 6:18] = 1
    metric = METRICS[name]()
    low, high = metric.bounds
    equal = metric.score(target, target, mask)
    torch.testing.assert_close(equal, torch.full_like(equal, high if higher_is_better(name) else low))
    for other in others:
        scores = metric.score(other, target, mask)
        assert ((scores >= low) & (scores <= high)).all()
        assert ((scores < equal) == higher_is_better(name)).all()


@pytest.mark.parametrize("name", [n for n in METRICS if measures_sets(n)])
def test_numbers_of_sets_are_inside_the_bounds_and_know_their_direction(name):
    rng = np.random.default_rng(0)
    real, near, far = (rng.standard_normal((60, 8)).astype(np.float32) + shift for shift in (0, 0.1, 3))
    metric = METRICS[name]()
    values = [metric.measure(SetFeatures(fake, real), interval=False)["mean"] for fake in (near, far)]
    assert all(metric.bounds[0] <= value <= metric.bounds[1] for value in values)
    assert (values[0] > values[1]) == higher_is_better(name)


@pytest.mark.parametrize("name", [n for n in METRICS if hasattr(METRICS[n], "parts")])
def test_a_derived_metric_improves_with_each_of_its_parts(name):
    metric = METRICS[name]()
    means = [0.5 if METRICS[part].bounds[1] in (1, inf) and part != "fid" else 20.0 for part in metric.parts]
    for i, part in enumerate(metric.parts):
        better = [mean * (1.1 if higher_is_better(part) else 0.9) if i == j else mean for j, mean in enumerate(means)]
        assert (metric.combine(*better) > metric.combine(*means)) == metric.higher_is_better
    assert metric.bounds[0] <= metric.combine(*means) <= metric.bounds[1]

"""Figures: which images and which part, the numbers that are drawn, text in vector files, wrong requests."""

import csv
import json
import shutil

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from lama.commands.evaluate import main as evaluate
from lama.commands.figure import main
from lama.data.evaluation_set import write_pairs
from lama.figures.choosing import most_different
from lama.figures.labels import labels_of
from lama.figures.patches import Box, box_of
from lama.figures.sources import Evaluated
from lama.interfaces import EvaluationPair


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Evaluations of telea, of the mean colour, and of predictions in a folder, on six images."""
    folder, rng = tmp_path_factory.mktemp("figures"), np.random.default_rng(0)
    mask = np.zeros((40, 60), bool)
    pairs = []
    for i in range(6):
        hole = mask.copy()
        hole[10:20, 10 : 20 + 5 * i] = True
        image = (np.linspace(0, 255, 60)[None, :, None] + rng.normal(0, 6 * i, (40, 60, 3))).clip(0, 255)
        pairs.append(EvaluationPair(f"image{i}_mask000", image.astype(np.uint8), hole))
    write_pairs(pairs, folder / "faces")
    (folder / "predictions").mkdir()
    for pair in pairs:
        image = pair.image.copy()
        image[pair.mask] = 255 if pair.name.startswith("image3") else image[pair.mask]
        Image.fromarray(image).save(folder / "predictions" / f"{pair.name}.png")
    sources = {"telea": "baseline=telea", "mean": "baseline=mean_colour", "own": f"predictdir={folder / 'predictions'}"}
    for name, source in sources.items():
        evaluate([f"indir={folder / 'faces'}", source, f"outdir={folder / name}", "metrics=quick", "device=cpu"])
    return folder


@pytest.fixture
def shown(monkeypatch):
    """The images that are drawn."""
    images, imshow = [], Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda axis, x, **k: (images.append(x), imshow(axis, x, **k))[1])
    return images


def test_a_figure_shows_where_two_methods_differ_most(evaluated, tmp_path, shown, capsys):
    folders = [str(evaluated / name) for name in ("own", "telea", "mean")]
    main([*folders, f"out={tmp_path / 'fig.svg'}", "names=[Ours,Telea,Mean]", "rows=2", "metric=psnr_hole"])
    printed = capsys.readouterr().out
    assert "Ours is better on 5" in printed
    assert "Telea on 1" in printed
    rows = {
        name: {
            row["name"]: float(row["psnr_hole"]) for row in csv.DictReader((evaluated / name / "per_image.csv").open())
        }
        for name in ("own", "telea")
    }
    most = sorted(rows["own"], key=lambda name: -abs(rows["own"][name] - rows["telea"][name]))[:2]
    assert f"by PSNR (hole): {', '.join(most)}" in printed
    assert len(shown) == 2 * 2 * 5  # two rows, each with its patches: masked, three methods, truth
    truth = np.asarray(Image.open(evaluated / "faces" / f"{most[0].removesuffix('_mask000')}.png"))
    assert any(np.array_equal(image, truth) for image in shown)
    text = (tmp_path / "fig.svg").read_text()
    assert all(f">{name}</text>" in text for name in ("Masked", "Ours", "Telea", "Mean", "Truth"))


@pytest.mark.parametrize("count", [1, 2])
def test_a_photograph_with_several_masks_is_shown_once(count):
    scores = {"a_mask000": 9, "a_mask001": 5, "a_crop001_mask000": 7, "b": 1, "b2_mask000": 4, "c_mask000": 0}
    first, second = (
        Evaluated(name, {}, {image: {"psnr": factor * score} for image, score in scores.items()})
        for name, factor in (("x", 1.0), ("y", 2.0))
    )
    said = []
    assert (
        most_different([first, second], "xy", "psnr", count + 1, said.append)
        == ["a_mask000", "b2_mask000", "b"][: count + 1]
    )
    assert most_different([first], "x", None, count, said.append) == ["a_mask000", "c_mask000"][:count]


def test_images_and_the_part_are_chosen_by_hand(evaluated, tmp_path, shown):
    pair = [str(evaluated / "own"), str(evaluated / "telea")]
    main([*pair, f"out={tmp_path / 'fig.pdf'}", "images=[image3_mask000]", "zoom=[10,8,20]"])
    assert (tmp_path / "fig.pdf").read_bytes().startswith(b"%PDF")
    assert [image.shape for image in shown] == [(40, 60, 3), (10, 20, 3)] * 4
    assert (shown[2][10:20, 10:35] == 255).all()  # our prediction of this image, from its folder
    shown.clear()
    main([pair[0], f"out={tmp_path / 'fig.png'}", "zoom=null", "rows=2"])
    assert len(shown) == 2 * 3


def test_the_part_is_where_two_results_differ_in_the_hole():
    first = np.zeros((40, 100, 3), np.uint8)
    second, hole = first.copy(), np.ones((40, 100), bool)
    second[30:35, 70:80] = 90
    box = box_of("auto", [first, second], hole, "x")
    assert (box.width, box.height) == (40, 20)
    assert (box.cut(second) == 90).sum() == 5 * 10 * 3
    hole[:, 60:] = False
    second[0:2, 0:2] = 10
    assert box_of("auto", [first, second], hole, "x").left == 0
    assert box_of([1, 2, 10], [first], hole, "x") == Box(1, 2, 10, 5)


def test_curves_have_the_mean_and_the_range_of_the_seeds(tmp_path, monkeypatch):
    drawn, bands, plot, fill = [], [], Axes.plot, Axes.fill_between
    monkeypatch.setattr(Axes, "plot", lambda axis, *a, **k: (drawn.append((k["label"], a)), plot(axis, *a, **k))[1])
    monkeypatch.setattr(Axes, "fill_between", lambda axis, *a, **k: (bands.append(a), fill(axis, *a, **k))[1])
    for seed, shift in enumerate((0, 2)):
        (tmp_path / "grad" / f"seed{seed}").mkdir(parents=True)
        lines = ["iteration,name,value"]
        lines += [f"{i},val_psnr_hole_total_mean,{20 + i / 10 + shift}" for i in range(10, 40 + 10 * seed, 10)]
        (tmp_path / "grad" / f"seed{seed}" / "metrics.csv").write_text("\n".join(lines) + "\n")
    main(["curves", str(tmp_path / "grad"), f"out={tmp_path / 'curves.svg'}"])
    (label, (at, mean)), (_, low, high) = drawn[0], bands[0]
    assert label == "grad (2 seeds)"
    assert (list(at), list(mean)) == ([10, 20, 30], [22, 23, 24])  # as far as both seeds have come
    assert (list(low), list(high)) == ([21, 22, 23], [23, 24, 25])
    assert "PSNR (hole) ↑</text>" in (tmp_path / "curves.svg").read_text()
    one = str(tmp_path / "grad" / "seed0")
    main(["curves", one, str(tmp_path / "grad"), "names=[A,B]", "metrics=[psnr_hole]", f"out={tmp_path / 'c.svg'}"])
    assert [name for name, _ in drawn[1:]] == ["A", "B (2 seeds)"]


def test_a_metric_of_a_package_that_is_not_imported_names_the_package(evaluated, tmp_path):
    (tmp_path / "metrics.csv").write_text("iteration,name,value\n3,val_rough_of_paper_total_mean,0.5\n")
    (tmp_path / "config.yaml").write_text("plugins: [paper]\n")
    with pytest.raises(ValueError, match=r"rough_of_paper.*add plugins=\[paper\]"):
        main(["curves", str(tmp_path), f"out={tmp_path / 'curves.svg'}", "metrics=[rough_of_paper]"])
    shutil.copytree(evaluated / "telea", tmp_path / "telea")
    about = json.loads((tmp_path / "telea/metrics.json").read_text())
    about["overall"]["rough_of_paper"], about["configuration"]["plugins"] = about["overall"]["psnr"], ["paper"]
    (tmp_path / "telea/metrics.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"rough_of_paper.*add plugins=\[paper\]"):
        main(["area", str(tmp_path / "telea"), f"out={tmp_path / 'area.svg'}", "metrics=[rough_of_paper]"])
    with pytest.raises(ValueError, match=r"'rough_of_paper'.*plugins=\[PACKAGE\]"):
        evaluate([f"indir={evaluated / 'faces'}", "baseline=telea", f"outdir={tmp_path / 'out'}", "device=cpu",
                  "metrics=[psnr_hole,rough_of_paper]"])  # fmt: skip


def test_metrics_against_the_area_of_the_hole(evaluated, tmp_path, monkeypatch):
    drawn, errorbar = [], Axes.errorbar
    monkeypatch.setattr(
        Axes, "errorbar", lambda axis, *a, **k: (drawn.append((k["label"], a)), errorbar(axis, *a, **k))[1]
    )
    main(
        [
            "area",
            str(evaluated / "own"),
            str(evaluated / "telea"),
            f"out={tmp_path / 'area.svg'}",
            "metrics=[psnr_hole]",
        ]
    )
    scores = [float(row["psnr_hole"]) for row in csv.DictReader((evaluated / "own" / "per_image.csv").open())]
    assert [label for label, _ in drawn] == ["own", "telea"]
    assert list(drawn[0][1][1]) == pytest.approx([np.mean(scores)])  # six images are one group
    areas = [float(row["mask_area"]) for row in csv.DictReader((evaluated / "own" / "per_image.csv").open())]
    for _, (x, *_) in drawn:  # no method is moved aside
        assert list(x) == pytest.approx([100 * np.mean(areas)])


@pytest.mark.parametrize(
    ("places", "labels"),
    [
        (["E/base/seed0/held", "E/laplace/seed0/held"], ["base", "laplace"]),
        (["E/base/seed0/held", "E/base/seed1/held"], ["seed0", "seed1"]),
        (["E/a/seed0/held", "E/b/seed1/held", "E/a/seed1/held"], ["a/seed0", "b/seed1", "a/seed1"]),
        (["E/base/held"], ["held"]),
    ],
)
def test_labels_are_the_parts_in_which_the_folders_differ(places, labels):
    assert labels_of(places, None) == labels


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["own", "telea", "out=fig.jpg"], "out=fig.jpg"), (["own", "names=[A,B]"], "names="),
        (["own", "names=[Base,Discs & co]"], r"names=\[A,'B \(c\)'\]"),
        ([], "figure OUT_A"),
        (["own", "telea", "images=[no]"], "'no'"), (["own", "telea", "metric=fid"], "metric=fid"),
        (["own", "rows=0"], "rows=0"),
        (["own", "zoom=[50,30,40]"], r"zoom=\[50, 30, 40\]"), (["own", "zoom=big"], "zoom=big"),
        (["own", "width=90"], "width=90"),
        (["nowhere"], "nowhere"), (["curves", "own"], "own"), (["area", "own", "metrics=[fid]"], "metric=fid"),
        (["area", "own", "names=[A,B]"], "names="),
    ],
)  # fmt: skip
def test_wrong_requests_are_one_line_and_write_nothing(evaluated, tmp_path, monkeypatch, words, what):
    monkeypatch.chdir(tmp_path)
    folders = ("own", "telea", "nowhere")
    arguments = [str(evaluated / word) if word in folders else word for word in words]
    with pytest.raises((ValueError, FileNotFoundError), match=what) as caught:
        main(arguments)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())

"""Metrics against independent references, and the evaluator around them."""

import csv
import json

import lpips
import numpy as np
import pytest
import scipy.linalg
import torch
from budget import within
from formula import formula_image, formula_tensor
from skimage.metrics import peak_signal_noise_ratio

from lama.evaluation import METRICS, Evaluator, higher_is_better
from lama.evaluation.baselines import BASELINES, mean_colour
from lama.evaluation.fid import frechet_distance
from lama.evaluation.inception import fid_inception
from lama.evaluation.lpips import LPIPS, LPIPSSqueeze
from lama.evaluation.pixel import L1, PSNR, L1Hole, PSNRHole
from lama.evaluation.ssim import SSIM, SSIMHole
from lama.evaluation.tables import about, format_cell, latex_table, markdown_table, write_results
from lama.lpips_network import file_of
from lama.pictures.images import image_to_tensor, read_image

PER_IMAGE = {
    "l1": L1,
    "psnr": PSNR,
    "ssim": SSIM,
    "l1_hole": L1Hole,
    "psnr_hole": PSNRHole,
    "ssim_hole": SSIMHole,
}


@pytest.fixture
def images():
    """Four completed images, the true ones, and masks of different sizes."""
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 1, (4, 3, 20, 24)).astype(np.float32)
    noise = rng.normal(0, 0.1, target.shape).astype(np.float32)
    mask = np.zeros((4, 1, 20, 24), np.float32)
    for i in range(4):
        mask[i, 0, 2 : 5 + i, 3:20] = 1
    return torch.from_numpy((target + noise).clip(0, 1)), torch.from_numpy(target), torch.from_numpy(mask)


def scores(metric, completed, target, mask):
    with torch.no_grad():
        return metric.score(completed, target, mask).tolist()


def test_psnr_equals_scikit_image(images):
    completed, target, _ = images
    expected = [
        peak_signal_noise_ratio(t.numpy(), c.numpy(), data_range=1) for c, t in zip(completed, target, strict=True)
    ]
    within("PSNR", scores(PSNR(), *images), expected)


def in_the_hole(images):
    for completed, target, mask in zip(*images, strict=True):
        hole = mask[0].bool()
        yield completed[:, hole].double().numpy(), target[:, hole].double().numpy()


def test_psnr_of_the_hole_equals_scikit_image_on_its_pixels(images):
    expected = [peak_signal_noise_ratio(t, c, data_range=1) for c, t in in_the_hole(images)]
    within("PSNR", scores(PSNRHole(), *images), expected)


def test_l1_is_the_mean_absolute_error(images):
    completed, target, _ = (x.numpy() for x in images)
    within("L1", scores(L1(), *images), np.abs(completed - target).mean(axis=(1, 2, 3)))


def test_l1_of_the_hole_is_that_of_its_pixels(images):
    expected = [np.abs(c - t).mean() for c, t in in_the_hole(images)]
    within("L1", scores(L1Hole(), *images), expected)


def ssim_map(x, y):
    """SSIM of (H, W) images, window by window, in float64."""
    offsets = np.arange(-5, 6)
    gauss = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    gauss /= gauss.sum()
    x, y = np.pad(x.astype(np.float64), 5), np.pad(y.astype(np.float64), 5)
    values = np.zeros((x.shape[0] - 10, x.shape[1] - 10))
    for i, j in np.ndindex(values.shape):
        a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
        mean_a, mean_b = (gauss * a).sum(), (gauss * b).sum()
        var_a, var_b = (gauss * (a - mean_a) ** 2).sum(), (gauss * (b - mean_b) ** 2).sum()
        cov = (gauss * (a - mean_a) * (b - mean_b)).sum()
        values[i, j] = (2 * mean_a * mean_b + 1e-4) * (2 * cov + 9e-4)
        values[i, j] /= (mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)
    return values


@pytest.mark.parametrize("hole_only", [False, True])
def test_ssim_equals_the_sum_over_explicit_windows(images, hole_only):
    completed, target, mask = (x[:1] for x in images)
    maps = np.stack([ssim_map(completed[0, c].numpy(), target[0, c].numpy()) for c in range(3)])
    expected = maps[:, mask[0, 0].bool().numpy()].mean() if hole_only else maps.mean()
    within("SSIM", scores((SSIMHole if hole_only else SSIM)(), completed, target, mask), [expected])


@pytest.mark.parametrize(
    ("name", "identity"),
    [("l1", 0), ("psnr", 100), ("ssim", 1), ("l1_hole", 0), ("psnr_hole", 100), ("ssim_hole", 1)],
)
def test_equal_images_have_the_best_score(images, name, identity):
    _, target, mask = images
    assert scores(PER_IMAGE[name](), target, target, mask) == pytest.approx([identity] * 4)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_the_direction_of_a_metric_is_the_right_one(images, name):
    completed, target, mask = images
    metric = PER_IMAGE[name]()
    good, bad = scores(metric, torch.cat([target[:1], completed[:1]]), target[[0, 0]], mask[[0, 0]])
    assert (good > bad) == higher_is_better(name)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_the_batch_size_changes_no_score(images, name):
    metric = PER_IMAGE[name]()
    alone = [scores(metric, *(x[i : i + 1] for x in images))[0] for i in range(4)]
    within("metrics of single images, any batch", scores(metric, *images), alone)


@pytest.mark.parametrize("name", ["l1_hole", "psnr_hole", "ssim_hole"])
def test_pixels_outside_the_hole_do_not_count_for_a_hole_metric(images, name):
    completed, target, mask = images
    if name == "ssim_hole":  # its windows reach beyond the hole: change only pixels farther away than a window
        completed, target = (torch.nn.functional.pad(x, (0, 0, 0, 16)) for x in (completed, target))
        mask = torch.nn.functional.pad(mask, (0, 0, 0, 16))
    expected = scores(PER_IMAGE[name](), completed, target, mask)
    changed = completed.clone()
    changed[:, :, -12:] = 1
    assert scores(PER_IMAGE[name](), changed, target, mask) == pytest.approx(expected)


def test_an_image_without_a_hole_has_no_score_and_does_not_count(images):
    completed, target, mask = images
    with_hole = scores(PSNRHole(), *images)
    mask[2] = 0
    assert np.isnan(scores(PSNRHole(), completed, target, mask)[2])
    evaluator = Evaluator(["psnr_hole"])
    evaluator.update(NAMES, completed, target, mask)
    assert evaluator.compute()["psnr_hole"]["mean"] == pytest.approx(np.mean(np.delete(with_hole, 2)))


def features(n, m, dim, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim)) @ (np.eye(dim) + 0.2 * rng.standard_normal((dim, dim)))
    return torch.from_numpy(x), torch.from_numpy(1.3 * rng.standard_normal((m, dim)) + 0.2)


@pytest.mark.parametrize(("n", "m", "dim"), [(300, 300, 16), (400, 150, 8)])
def test_frechet_distance_equals_the_formula_with_a_matrix_root(n, m, dim):
    x, y = features(n, m, dim)
    sx, sy = np.cov(x.numpy().T), np.cov(y.numpy().T)
    root = scipy.linalg.sqrtm(sx @ sy).real
    means = ((x.mean(0) - y.mean(0)) ** 2).sum().item()
    within("Fréchet distance", frechet_distance(x, y), means + np.trace(sx + sy - 2 * root))


SIZES = [(300, 16), (12, 40), (2, 5)]  # also fewer samples than dimensions


@pytest.mark.parametrize(("n", "dim"), SIZES)
def test_frechet_distance_of_equal_sets_is_zero(n, dim):
    x, _ = features(n, n, dim)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("n", "dim"), SIZES)
def test_frechet_distance_does_not_depend_on_the_order_of_samples(n, dim):
    x, y = features(n, n, dim)
    shuffled = x[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    assert frechet_distance(shuffled, y) == pytest.approx(frechet_distance(x, y), rel=1e-9)


@pytest.mark.parametrize(("n", "dim"), SIZES)
def test_frechet_distance_is_symmetric(n, dim):
    x, y = features(n, n + 3, dim)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)


@pytest.mark.parametrize(("n", "dim"), SIZES)
def test_frechet_distance_of_moved_and_scaled_samples_has_a_closed_form(n, dim):
    x, _ = features(n, n, dim)
    moved = 3 * (x - x.mean(0)) + x.mean(0) + 2
    expected = 4 * dim + (3 - 1) ** 2 * x.var(0).sum().item()
    assert frechet_distance(x, moved) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def official(shared):
    return json.loads((shared / "parity" / "metrics.json").read_text())


@pytest.mark.parametrize("case", range(3))
def test_frechet_distance_equals_the_official_one(official, case):
    case = official["frechet"][case]
    rng, (n, dim) = np.random.default_rng(case["rng"]), (case["n"], case["dim"])
    x = rng.standard_normal((n, dim)) @ (np.eye(dim) + 0.2 * rng.standard_normal((dim, dim)))
    y = 1.3 * rng.standard_normal((n, dim)) + 0.2
    within("Fréchet distance, official", frechet_distance(torch.from_numpy(x), torch.from_numpy(y)), case["value"])


def test_ssim_inside_the_image_equals_kornias():
    """Ours pads with zeros and kornia reflects: only windows within the image are compared."""
    from kornia.metrics import ssim

    completed, target = torch.rand(2, 2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    expected = ssim(completed, target, window_size=11)[..., 5:-5, 5:-5]
    within("SSIM", SSIM()._map(completed, target)[..., 5:-5, 5:-5], expected)


def test_ssim_equals_the_official_one(official):
    case = official["ssim"]
    a, b = (formula_image(case[seed], *case["shape"]) for seed in ("a_seed", "b_seed"))
    within("SSIM, official", scores(SSIM(), 0.7 * a + 0.3 * b, a, a[:, :1]), case["values"])


@pytest.fixture
def formula_images(official):
    shape = official["fid"]["shape"]
    predicted = formula_image(50, *shape)
    return predicted, 0.5 * formula_image(51, *shape) + 0.5 * predicted, torch.ones(shape[0], 1, *shape[2:])


@pytest.mark.slow
def test_fid_equals_the_official_one(shared, official, formula_images, tmp_path):
    state = {}
    for line in (shared / "parity" / "fid_inception_keys.txt").read_text().splitlines():
        key, _, shape = line.partition(" ")
        state[key] = formula_tensor(key, tuple(int(n) for n in shape.strip("()").split(",") if n.strip()), 0, 1.45)
    torch.save(state, tmp_path / "inception.pth")
    weights = {"fid_inception": str(tmp_path / "inception.pth")}
    evaluator = Evaluator(["fid"], weights, min_images=2, intervals=False)
    for i, batch in enumerate(zip(*(x.split(8) for x in formula_images), strict=True)):
        evaluator.update([f"{i}{j}" for j in range(len(batch[0]))], *batch)
    first = evaluator.features["inception"][0].array[0, :8].tolist()
    assert first == pytest.approx(official["fid"]["feature_first8"], rel=1e-4, abs=1e-4)
    within("FID, official", evaluator.compute()["fid"]["mean"], official["fid"]["value"])


def backbone_file(path, backbone, layers):
    """A backbone in torchvision's layout, filled by formula."""
    state = {}
    for key, value in lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False).state_dict().items():
        if key.startswith("net."):
            name = layers + key.split(".", 2)[2]
            state[name] = formula_tensor(name, tuple(value.shape))
    torch.save(state, path)
    return str(path)


@pytest.mark.slow
def test_lpips_vgg_equals_the_official_one(official, formula_images, tmp_path):
    metric = LPIPS(backbone_file(tmp_path / "vgg.pth", "vgg", "features."))
    values = scores(metric, *(x[:6] for x in formula_images))
    within("LPIPS (VGG), official", values, official["lpips_vgg"]["values"])


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory):
    return backbone_file(tmp_path_factory.mktemp("weights") / "squeeze.pth", "squeeze", "features.")


@pytest.fixture
def large_images():
    a, b = formula_image(1, 2, 3, 64, 64), formula_image(2, 2, 3, 64, 64)
    return a, b, torch.ones(2, 1, 64, 64)


def test_lpips_of_equal_images_is_zero_and_of_others_is_not(squeeze, large_images):
    a, b, mask = large_images
    assert scores(LPIPSSqueeze(squeeze), a, a, mask) == [0, 0]
    assert min(scores(LPIPSSqueeze(squeeze), a, b, mask)) > 1e-3


def test_lpips_does_not_depend_on_the_batch(squeeze, large_images):
    together = scores(LPIPSSqueeze(squeeze), *large_images)
    alone = [scores(LPIPSSqueeze(squeeze), *(x[i : i + 1] for x in large_images))[0] for i in range(2)]
    within("metrics of networks, any batch", together, alone)


def test_lpips_takes_a_backbone_in_either_layout(squeeze, large_images, tmp_path):
    expected = LPIPSSqueeze(squeeze)
    torch.save(expected.network.state_dict(), tmp_path / "whole.pth")
    whole = LPIPSSqueeze(str(tmp_path / "whole.pth"))
    assert scores(whole, *large_images) == scores(expected, *large_images)


def test_lpips_refuses_an_unknown_backbone():
    with pytest.raises(ValueError, match="resnet"):
        file_of("resnet")


@pytest.mark.parametrize("make", [lambda file: LPIPSSqueeze(file), fid_inception], ids=["lpips", "fid"])
def test_weights_of_another_network_are_refused(tmp_path, make):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth") as caught:
        make(str(tmp_path / "other.pth"))
    assert "\n" not in str(caught.value)


def expected_pairs(shared):
    with (shared / "metrics" / "expected_metrics.csv").open() as file:
        return list(csv.DictReader(file))


def check_pair(shared, row, metrics):
    ref, pred = (image_to_tensor(read_image(shared / row[key]))[None] for key in ("ref", "pred"))
    jpeg = 10 if row["ref"].endswith(".jpg") else 1  # decoders differ by a grey level
    for metric, column, tolerance in metrics:
        (score,) = scores(metric, pred, ref, torch.ones_like(ref[:, :1]))
        assert score == pytest.approx(float(row[column]), abs=jpeg * tolerance), (row["pred"], column)


@pytest.fixture(scope="module")
def three_metrics(shared):
    weights = str(shared / "weights" / "lpips_squeeze.pt")
    return [
        (PSNR(), "psnr_rgb_db", 0.01),
        (SSIM(), "ssim_zero_pad_rgb", 1e-4),
        (LPIPSSqueeze(weights), "lpips_squeeze_v0.1", 1e-4),
    ]


@pytest.mark.parametrize("index", [0, 1, 2, 4, 6, 14, 22, 39])
def test_metrics_of_real_pairs(shared, three_metrics, index):
    check_pair(shared, expected_pairs(shared)[index], three_metrics)


@pytest.mark.slow
def test_metrics_of_all_real_pairs(shared, three_metrics):
    rows = expected_pairs(shared)
    assert len(rows) == 40
    for row in rows:
        check_pair(shared, row, three_metrics)


NAMES = ["a", "b", "c", "d"]


def test_the_evaluator_gives_every_metric_over_all_updates(images):
    evaluator = Evaluator(list(PER_IMAGE))
    evaluator.update(NAMES[:1], *(x[:1] for x in images))
    evaluator.update(NAMES[1:], *(x[1:] for x in images))
    results = evaluator.compute()
    assert list(results) == list(PER_IMAGE)
    for name, make in PER_IMAGE.items():
        parts = [scores(make(), *(x[part] for x in images)) for part in (np.s_[:1], np.s_[1:])]  # as it was updated
        expected = np.concatenate(parts)
        assert results[name]["mean"] == pytest.approx(np.mean(expected), rel=1e-6)
        assert results[name]["std"] == pytest.approx(np.std(expected), rel=1e-6)
        low, high = results[name]["ci95"]
        assert min(expected) <= low <= results[name]["mean"] <= high <= max(expected)
        assert results[name]["n"] == 4


def test_the_evaluator_gives_one_row_for_each_image(images):
    evaluator = Evaluator(["psnr", "l1"])
    evaluator.update(NAMES, *images)
    psnr, l1 = scores(PSNR(), *images), scores(L1(), *images)
    areas = images[2].mean(dim=(1, 2, 3)).tolist()
    expected = [
        {"name": name, "mask_area": pytest.approx(areas[i]), "psnr": psnr[i], "l1": l1[i]}
        for i, name in enumerate(NAMES)
    ]
    assert evaluator.per_image() == expected


def test_the_evaluator_counts_the_images_that_have_a_score(images):
    completed, target, mask = images
    mask[2] = 0
    evaluator = Evaluator(["psnr", "psnr_hole"])
    evaluator.update(NAMES, completed, target, mask)
    assert {name: result["n"] for name, result in evaluator.compute().items()} == {"psnr": 4, "psnr_hole": 3}


def test_the_evaluator_says_when_no_image_has_a_score(images):
    completed, target, mask = images
    evaluator = Evaluator(["psnr_hole"])
    evaluator.update(NAMES, completed, target, 0 * mask)
    result = evaluator.compute()["psnr_hole"]
    assert (result["mean"], result["n"]) == (None, 0)
    assert "not available" in result["note"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_prediction_that_is_not_finite_is_refused_by_name(images, value):
    completed, target, mask = images
    completed[1, 0, 0, 0] = value
    with pytest.raises(ValueError, match="the_bad_one"):
        Evaluator(["l1"]).update(["the_bad_one"], completed[1:2], target[1:2], mask[1:2])


def test_an_unknown_metric_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"unknown 'pnsr'.*psnr_hole"):
        Evaluator(["psnr", "pnsr"])


def test_an_evaluation_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no image"):
        Evaluator(["l1"]).compute()


def test_a_reset_evaluator_starts_again(images):
    evaluator = Evaluator(["l1"])
    evaluator.update(NAMES, *images)
    evaluator.reset()
    evaluator.update(["x"], *(x[:1] for x in images))
    assert evaluator.compute()["l1"]["n"] == len(evaluator.per_image()) == 1


@pytest.mark.parametrize("name", [n for n in METRICS if n.startswith(("lpips", "fid", "kid", "p_ids", "ssim_fid"))])
def test_a_metric_whose_weights_are_missing_is_reported_not_dropped(images, name, monkeypatch, tmp_path):
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path))
    evaluator = Evaluator(["l1", name])
    evaluator.update(NAMES, *images)
    results = evaluator.compute()
    assert results["l1"]["n"] == 4
    assert results[name]["mean"] is None
    assert ".pth is missing" in results[name]["note"]


def test_all_missing_weights_are_one_line_with_one_command(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path))
    Evaluator(["l1", "fid", "kid", "lpips_vgg"])
    [line] = [record.getMessage() for record in caplog.records]
    assert "lama weights get " in line
    assert set(line.partition("lama weights get ")[2].split()) == {"fid_inception", "lpips_vgg"}
    assert all(metric in line for metric in ("fid", "kid", "lpips_vgg"))
    assert "training" not in line


def test_a_weight_path_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Evaluator(["lpips_vgg"], {"lpips_vgg": str(tmp_path / "nowhere.pth")})


@pytest.mark.parametrize("fill", BASELINES.values(), ids=BASELINES)
def test_a_baseline_fills_the_hole_and_leaves_the_rest(fill):
    image = np.full((24, 30, 3), (200, 100, 50), np.uint8)
    mask = np.zeros((24, 30), bool)
    mask[8:14, 5:20] = True
    damaged = np.where(mask[..., None], np.uint8(0), image)
    np.testing.assert_allclose(fill(damaged, mask), image, atol=3)
    np.testing.assert_array_equal(fill(damaged, mask)[~mask], image[~mask])


def test_the_mean_colour_is_that_of_the_known_pixels():
    image = np.array([[[0, 10, 20], [100, 30, 40], [255, 255, 255]]], np.uint8)
    filled = mean_colour(image, np.array([[False, False, True]]))
    assert filled.tolist() == [[[0, 10, 20], [100, 30, 40], [50, 20, 30]]]


def test_the_mean_colour_of_nothing_is_grey():
    filled = mean_colour(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool))
    assert np.abs(filled.astype(int) - 127.5).max() < 1


METHODS = {
    "ours": {"psnr": {"mean": 30.123456, "n": 2}, "l1": {"mean": 0.02, "n": 2}, "fid": {"mean": None, "n": 0}},
    "theirs": {"psnr": {"mean": 28, "n": 2}, "l1": {"mean": 0.01, "n": 2}, "fid": {"mean": 7.0, "n": 2}},
}


def test_a_table_has_the_best_of_each_column_in_bold():
    ours, theirs = markdown_table(METHODS).splitlines()[2:4]
    assert ours == "| ours | **30.12** | 0.02 | n/a |"
    assert theirs == "| theirs | 28 | **0.01** | 7 |"


def test_a_table_says_which_way_is_better():
    assert markdown_table(METHODS).startswith("| method | psnr ↑ | l1 ↓ | fid ↓ |")


def test_a_missing_number_says_why_once_below_the_table():
    assert format_cell({"mean": None, "n": 0, "note": "no weights"}) == "n/a"
    missing = {"fid": {"mean": None, "n": 0, "note": "not available: no weights"}, "l1": {"mean": 0.1, "n": 1}}
    lines = markdown_table({"0-10%": missing, "total": missing}, "mask area").splitlines()
    assert lines[-2:] == ["", "fid: n/a, no weights"]
    assert lines[2] == "| 0-10% | 1 | n/a | 0.1 |"


def test_results_are_written_for_people_and_programs(tmp_path):
    rows = [{"name": "a", "psnr": 30.5}, {"name": "b, c", "psnr": float("nan")}]
    evaluator = Evaluator(["psnr"])
    evaluator.sizes = {(40, 50), (33, 47)}
    described = about({"model": "runs/x", "images": 2, "evaluation_set": ["5e7"]}, evaluator)
    write_results(tmp_path / "out", METHODS["ours"], {"0-10%": METHODS["theirs"]}, rows, described, "<p>é</p>")
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content["overall"] == METHODS["ours"]
    assert content["bins"] == {"0-10%": METHODS["theirs"]}
    assert content["model"] == "runs/x"
    with (tmp_path / "out" / "per_image.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", "b, c"]
    assert "30.12" in (tmp_path / "out" / "table.md").read_text()
    assert r"0-10\%" in (tmp_path / "out" / "table.tex").read_text()
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == "<p>é</p>"
    for name in ("table.md", "table.tex"):
        stamp = "protocol lama; 2 images of 47 x 33 to 50 x 40 pixels; evaluation set 5e7; lama "
        assert stamp in (tmp_path / "out" / name).read_text()
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_a_latex_table_marks_the_best_and_dashes_what_is_missing():
    lines = latex_table(METHODS).splitlines()
    assert lines[4] == r"ours & \textbf{30.12} & 0.02 & -- \\"
    assert lines[5] == r"theirs & 28 & \textbf{0.01} & 7 \\"


def test_a_metric_without_any_number_is_a_note_below_a_latex_table():
    nothing = {"mean": None, "n": 0, "note": "not available: f_x.pth is missing"}
    text = latex_table({name: {**results, "kid": nothing} for name, results in METHODS.items()})
    table, _, below = text.partition(r"\end{tabular}")
    assert table == latex_table(METHODS).partition(r"\end{tabular}")[0]
    assert r"kid: n/a, f\_x.pth is missing" in below


def test_a_table_of_groups_says_how_many_images_each_has():
    lines = markdown_table({"0-10%": METHODS["theirs"], "total": METHODS["theirs"]}, "mask area").splitlines()
    assert lines[0] == "| mask area | n | psnr ↑ | l1 ↓ | fid ↓ |"
    assert lines[2] == "| 0-10% | 2 | 28 | 0.01 | 7 |"

"""Parts of an evaluation: features by protocol and by content, statistics of sets, groups, intervals."""

import csv
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from budget import within
from networks import TinyInception, random_inception
from scipy import stats

from lama.evaluation import METRICS, PRESETS, Evaluator, higher_is_better
from lama.evaluation.cache import Store, content_of, is_8_bit
from lama.evaluation.fid import frechet_distance
from lama.evaluation.groups import comodgan_bins, lama_bins, members
from lama.evaluation.ids import discriminative_scores
from lama.evaluation.inception import RESIZES, Inception
from lama.evaluation.kid import kernel_distance
from lama.evaluation.protocol import PROTOCOLS, find_protocol
from lama.evaluation.selectors import fid100_f1
from lama.evaluation.statistics import holm, mean_interval, paired_comparison, set_interval, welch
from lama.evaluation.tables import about, write_results


def features(n, dim, seed=0, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, dim)) + shift)


# Fréchet distance


@pytest.mark.parametrize(("n", "m", "dim"), [(200, 180, 20), (50, 300, 64), (40, 30, 64)])
@pytest.mark.parametrize("covariance", ["N-1", "N"])
def test_frechet_distance_in_either_convention(n, m, dim, covariance):
    x, y = features(n, dim) @ features(dim, dim, 5), features(m, dim, 1, 0.3)
    sx, sy = (np.cov(z.numpy(), rowvar=False, ddof=0 if covariance == "N" else 1) for z in (x, y))
    root = np.trace(scipy.linalg.sqrtm(sx @ sy).real)
    expected = (x.mean(0) - y.mean(0)).square().sum().item() + np.trace(sx) + np.trace(sy) - 2 * root
    within("Fréchet distance", frechet_distance(x, y, covariance), expected)


def test_frechet_distance_of_degenerate_features_is_a_number():
    x = features(300, 20)
    x[:, 3] = 1.0  # a constant feature: no Cholesky factor
    assert np.isfinite(frechet_distance(x, features(300, 20, 1)))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_one_image_is_no_number():
    assert np.isnan(frechet_distance(features(1, 4), features(5, 4)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        frechet_distance(features(5, 4) * float("nan"), features(5, 4))


# Kernel distance and discriminative scores


def test_kernel_distance_equals_the_formula():
    x, y = features(30, 8).numpy(), features(30, 8, 1, 0.5).numpy()
    kernel = lambda a, b: (a @ b.T / 8 + 1) ** 3  # noqa: E731
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    off = lambda k: (k.sum() - np.trace(k)) / (30 * 29)  # noqa: E731
    expected = off(xx) + off(yy) - 2 * xy.mean()
    within("KID", kernel_distance(torch.from_numpy(x), torch.from_numpy(y))[0], expected)


def test_kernel_distance_of_equally_distributed_features_is_near_zero_at_any_size():
    values = [kernel_distance(features(n, 16, 1), features(n, 16, 2))[0] for n in (50, 200, 1500)]
    assert all(abs(value) < 0.05 for value in values)
    assert np.isnan(kernel_distance(features(1, 4), features(1, 4))[0])


def test_kernel_distance_equals_torch_fidelitys():
    import lama.torchvision_ops  # noqa: F401  isort: skip
    from torch_fidelity import metric_kid as metric

    x, y = features(120, 16).float(), features(120, 16, 1, 0.2).float()
    options = {"kid_subsets": 10, "kid_subset_size": 100, "rng_seed": 2020, "verbose": False}
    theirs = metric.kid_features_to_metric(x, y, **options)
    from lama.evaluation import kid

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kid, "SUBSET", 100)
        mean, std = kernel_distance(x, y, subsets=10)
    within("KID, subsets", mean, theirs["kernel_inception_distance_mean"])
    assert std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-3)


def test_discriminative_scores_equal_a_direct_computation():
    from sklearn.svm import LinearSVC

    real, fake = features(60, 10).float().numpy(), features(60, 10, 1, 0.4).float().numpy()
    classifier = LinearSVC(dual=False).fit(np.concatenate([real, fake]), np.r_[np.ones(60), np.zeros(60)])
    paired, unpaired = discriminative_scores(fake, real)
    expected = (classifier.decision_function(fake) > classifier.decision_function(real)).mean()
    within("P-IDS, U-IDS", paired.mean(), expected)
    accuracy = classifier.score(np.concatenate([real, fake]), np.r_[np.ones(60), np.zeros(60)])
    within("P-IDS, U-IDS", unpaired.mean(), 1 - accuracy)


# Groups


@pytest.mark.parametrize(
    ("area", "offline", "online"),
    [(0.0, "0-10%", "0-10%"), (0.05, "0-10%", "0-10%"), (0.5, "50-60%", "40-50%"), (0.51, "50-60%", "50-60%"),
     (1.0, "90-100%", "90-100%")],
)  # fmt: skip
def test_lamas_bins_and_their_two_rules_for_edges(area, offline, online):
    assert lama_bins([area]) == [offline]
    assert lama_bins([area], edge="online") == [online]


def test_comodgans_bins():
    assert comodgan_bins([0, 0.19, 0.2, 0.5, 1.0]) == [
        "h0 0-20%", "h0 0-20%", "h1 20-40%", "h2 40-60%", "h4 80-100%",
    ]  # fmt: skip


def test_members_come_in_the_order_of_their_numbers():
    found = members(["90-100%", "0-10%", "10-20%", "0-10%"])
    assert {name: index.tolist() for name, index in found.items()} == {"0-10%": [1, 3], "10-20%": [2], "90-100%": [0]}
    assert list(found) == ["0-10%", "10-20%", "90-100%"]


# Intervals and comparisons


def test_the_interval_of_a_mean_is_that_of_theory():
    scores = np.random.default_rng(0).normal(5, 2, 400)
    low, high = mean_interval(scores)
    half = 1.96 * scores.std() / 20
    assert low == pytest.approx(scores.mean() - half, abs=0.05)
    assert high == pytest.approx(scores.mean() + half, abs=0.05)
    assert mean_interval(scores) == mean_interval(scores) != mean_interval(scores, seed=1)
    assert mean_interval(scores[:1]) is None


@pytest.mark.parametrize("n", [2, 30, 500])
def test_the_interval_of_a_mean_has_the_percentiles_of_resampled_means(n):
    scores = np.random.default_rng(1).exponential(2, n)
    means = scores[np.random.default_rng(2).integers(0, n, (20_000, n))].mean(axis=1)
    expected = np.percentile(means, [2.5, 97.5])
    assert mean_interval(scores) == pytest.approx(expected, abs=0.2 * np.ptp(expected))
    assert mean_interval(scores, resamples=20_000) == pytest.approx(expected, abs=0.03 * np.ptp(expected))


def test_the_interval_of_a_set_is_the_basic_one():
    scores = np.random.default_rng(1).exponential(2, 200)
    stds = scores[np.random.default_rng(2).integers(0, 200, (20_000, 200))].std(axis=1)
    high, low = 2 * scores.std() - np.percentile(stds, [2.5, 97.5])
    found = set_interval(lambda index: float(scores[index].std()), 200, resamples=2000)
    assert found == pytest.approx((low, high), abs=0.05 * (high - low))


def test_constant_scores_have_an_interval_without_width():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mean_interval(np.full(10, 0.25)) == (0.25, 0.25)


def test_the_interval_of_an_fid_holds_it_and_takes_the_shift_of_repeats_out():
    x, y = features(150, 40), features(150, 40, 1)
    value = frechet_distance(x, y)
    low, high = set_interval(lambda i: frechet_distance(x[i], y[i]), 150)
    assert low < high
    repeated = np.mean([frechet_distance(x[i], y[i]) for i in np.random.default_rng(1).integers(0, 150, (20, 150))])
    assert repeated > high  # the percentile interval would exclude the FID
    assert low < value


def test_a_paired_comparison_counts_wins_and_tests_the_mean_difference():
    a, b = np.array([3.0, 2.0, 5.0, 1.0, np.nan]), np.array([1.0, 2.0, 3.0, 0.0, 4.0])
    result = paired_comparison(a, b, higher_is_better=True)
    assert (result["wins"], result["losses"], result["ties"], result["n"]) == (3, 0, 1, 4)
    assert result["difference"] == pytest.approx(1.25)
    assert result["p"] == pytest.approx(stats.ttest_rel(a[:4], b[:4]).pvalue)
    assert [paired_comparison(a[:4], a[:4] - shift, True)["p"] for shift in (0, 0.5)] == [1, 0]
    assert paired_comparison(a[:1], b[:1], True)["p"] == 1  # one image
    assert paired_comparison(a, b, higher_is_better=False)["wins"] == 0
    with pytest.raises(ValueError, match=r"5.*2"):
        paired_comparison(a, b[:2], True)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # of Holm's method in R's p.adjust
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_corrects_for_the_number_of_comparisons(p, corrected):
    assert holm(p) == pytest.approx(corrected)


@pytest.mark.parametrize(("ssim", "fid", "value"), [(0.9, 10, 0.8995002776235426), (0.5, 150, 0.0)])
def test_the_checkpoint_selector(ssim, fid, value):
    within("checkpoint selector", fid100_f1(ssim, fid), value)


# Protocols


def test_tensorflows_resize_equals_torch_fidelitys():
    import lama.torchvision_ops  # noqa: F401  isort: skip
    from torch_fidelity import interpolate_compat_tensorflow as module

    image = (torch.rand(2, 3, 70, 90) * 255).round() / 255
    theirs = module.interpolate_bilinear_2d_like_tensorflow1x(image * 255, size=(299, 299), align_corners=False)
    torch.testing.assert_close(RESIZES["tensorflow"](image), (theirs - 128) / 128, atol=1e-5, rtol=1e-5)


def test_every_resize_keeps_a_constant_and_the_size():
    image = torch.full((1, 3, 40, 50), 128 / 255)
    for name, resize in RESIZES.items():
        made = resize(image)
        assert made.shape == (1, 3, 299, 299)
        expected = 2 * 128 / 255 - 1 if name == "bilinear" else 0.0
        torch.testing.assert_close(made, torch.full_like(made, expected), atol=1e-5, rtol=0)


def test_a_protocol_states_all_settings():
    for name, protocol in PROTOCOLS.items():
        described = protocol.describe()
        assert described["name"] == name
        assert described["inception_resize"] in RESIZES
        assert described["covariance"] in ("N-1", "N")
        assert described["published_inception_sha256"].startswith("6726825d")
    with pytest.raises(ValueError, match=r"protocol=mine.*lama, "):
        find_protocol("mine")


# Features by content


def test_features_are_computed_once(tmp_path):
    calls = []

    def compute(missing):
        calls.append(missing)
        return np.array([[float(i), 2.0] for i in missing], np.float32)

    contents = [b"a", b"b", b"c"]
    first = Store(tmp_path / "deep" / "features.db").get("x", contents, compute)
    again = Store(tmp_path / "deep" / "features.db")
    np.testing.assert_array_equal(again.get("x", contents, compute), first)
    assert again.computed == 0
    assert calls == [[0, 1, 2]]
    again.get("another extractor", contents[:1], compute)
    again.get("x", [b"a", b"new"], compute)
    assert calls == [[0, 1, 2], [0], [1]]
    assert again.computed == 2


def test_content_is_pixels_and_size():
    image = (torch.rand(1, 3, 4, 6) * 255).round() / 255
    other = image.clone()
    other[0, 0, 0, 0] = 1 - other[0, 0, 0, 0]
    turned = image.reshape(1, 3, 6, 4)
    assert len({content_of(x)[0] for x in (image, other, turned)}) == 3
    assert content_of(image) == content_of(image.clone())
    assert is_8_bit(image)
    assert not is_8_bit(image * 0.999)


def test_8_bit_values_that_cuda_has_divided_are_8_bit():
    values = torch.arange(256.0).repeat(3, 1)[None, :, None]
    on_cuda = values * (1 / torch.tensor(255.0))  # CUDA divides by a constant so
    assert not torch.equal(on_cuda, values / 255)
    assert is_8_bit(on_cuda)
    assert content_of(on_cuda) == content_of(values / 255)


# The evaluator


@pytest.fixture
def tiny_inception(monkeypatch):
    monkeypatch.setattr(
        "lama.evaluation.inception.fid_inception", lambda weights: (TinyInception(), "the sha256 of Tiny")
    )


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.integers(0, 256, (30, 3, 20, 24)).astype(np.float32)) / 255
    completed = ((target * 0.9 + 0.05) * 255).round() / 255
    mask = torch.zeros(30, 1, 20, 24)
    for i in range(30):
        mask[i, 0, : 2 + i % 10] = 1
    return [f"{i:02d}" for i in range(30)], completed, target, mask


ALL = ["psnr", "l1_hole", "ssim_skimage", "fid", "kid", "p_ids", "u_ids", "ssim_fid100_f1"]


def evaluated(images, batch, cache=None, metrics=ALL, **options):
    evaluator = Evaluator(metrics, cache=cache, min_images=5, **options)
    names, *tensors = images
    for i in range(0, len(names), batch):
        evaluator.update(names[i : i + batch], *(x[i : i + batch] for x in tensors))
    return evaluator


def test_batches_and_order_change_nothing(tiny_inception, images):
    expected = evaluated(images, 30).compute()
    names, *tensors = images
    backwards = (names[::-1], *(x.flip(0) for x in tensors))
    for other in (evaluated(images, 1), evaluated(images, 7), evaluated(backwards, 4)):
        results = other.compute()
        means = ({name: each[name]["mean"] for name in ALL} for each in (results, expected))
        within("metrics of sets, any batch and order", *means)


def test_two_runs_give_the_same_bytes_and_the_second_computes_no_feature(tiny_inception, images, tmp_path):
    for run in ("a", "b"):
        evaluator = evaluated(images, 8, cache=str(tmp_path / "features.db"))
        described = about(ABOUT, evaluator)
        results, groups, rows = evaluator.compute(), evaluator.compute_groups(), evaluator.per_image()
        write_results(tmp_path / run, results, groups, rows, described, "")
        assert evaluator.store.computed == (60 if run == "a" else 0)
    for name in ("metrics.json", "per_image.csv", "table.md", "table.tex"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_bins_hold_their_images_and_small_ones_no_fid(tiny_inception, images):
    evaluator = Evaluator(["psnr", "fid"], min_images=12)
    names, *tensors = images
    evaluator.update(names, *tensors)
    groups = evaluator.compute_groups()
    labels = lama_bins(tensors[2].double().mean(dim=(1, 2, 3)).tolist())
    assert list(groups) == sorted(set(labels), key=lambda name: int(name.split("-")[0]))
    assert sum(group["psnr"]["n"] for group in groups.values()) == 30
    for name, group in groups.items():
        n = labels.count(name)
        assert group["psnr"]["n"] == n
        if n < 12:
            assert group["fid"]["mean"] is None
            assert f"{n} images" in group["fid"]["note"]
    assert evaluator.compute()["fid"]["mean"] is not None
    assert list(Evaluator(["psnr"], grouping="none").metrics) == ["psnr"]


def test_every_number_has_an_interval_unless_told_otherwise(tiny_inception, images):
    results = evaluated(images, 30).compute()
    assert all(len(results[name]["ci95"]) == 2 for name in ALL if name != "ssim_fid100_f1")
    assert not any("ci95" in result for result in evaluated(images, 30, intervals=False).compute().values())


def test_identical_images_are_perfect(tiny_inception, images):
    names, _, target, mask = images
    results = evaluated((names, target, target, mask), 30).compute()
    assert results["fid"]["mean"] == pytest.approx(0, abs=1e-6)
    assert results["p_ids"]["mean"] == 0  # no fake is more real than itself
    assert results["ssim_skimage"]["mean"] == pytest.approx(1)


def test_one_image_has_no_statistics_of_sets(tiny_inception, images):
    names, *tensors = images
    results = evaluated((names[:1], *(x[:1] for x in tensors)), 1).compute()
    assert results["psnr"]["n"] == 1
    assert results["psnr"]["ci95"] is None
    assert "too few" in results["fid"]["note"]
    json.dumps(results)


def test_presets_are_known_metrics():
    assert PRESETS["full"] == list(METRICS)
    assert all(set(names) <= set(METRICS) for names in PRESETS.values())
    assert Evaluator("quick").metrics == PRESETS["quick"]
    with pytest.raises(ValueError, match=r"metrics=all.*\[psnr,ssim\].*quick, paper, removal, full"):
        Evaluator("all")
    with pytest.raises(ValueError, match=r"grouping=mine.*lama"):
        Evaluator(["psnr"], grouping="mine")


def test_which_way_is_better():
    lower = {name for name in METRICS if not higher_is_better(name)}
    lpips = {f"lpips_{net}{part}" for net in ("vgg", "alex", "squeeze") for part in ("", "_hole", "_background")}
    hole = {"colour_error", "boundary_error", "sharpness_error", "dots_2", "dots_4", "dots_8"}
    assert lower == {"l1", "l1_hole", "fid", "kid", "cmmd", "fd_dinov2"} | lpips | hole


@pytest.mark.slow
def test_fid_equals_pytorch_fids_on_the_same_folders(tmp_path):
    """The whole pipeline, files included, with the same random weights: 1e-6 relative."""
    from PIL import Image
    from pytorch_fid import fid_score
    from pytorch_fid import inception as package

    torch.manual_seed(0)
    reference = random_inception(lambda: package.InceptionV3([3]))
    rng = np.random.default_rng(0)
    for name in ("fake", "real"):
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / name / f"{i:02d}.png")
    moments = [
        fid_score.compute_statistics_of_path(str(tmp_path / name), reference, 4, 2048, "cpu", 0)
        for name in ("fake", "real")
    ]
    expected = fid_score.calculate_frechet_distance(*moments[0], *moments[1])
    ours = Inception.__new__(Inception)
    reference.resize_input = reference.normalize_input = False
    ours.network, ours.resize, ours.store, ours.extractor = reference, RESIZES["bilinear"], Store(), "x"
    vectors = []
    for name in ("fake", "real"):
        files = sorted((tmp_path / name).iterdir())
        images = torch.stack([torch.from_numpy(np.asarray(Image.open(f)).transpose(2, 0, 1).copy()) for f in files])
        vectors.append(torch.from_numpy(ours(images.float() / 255)))
    within("FID of image files", frechet_distance(*vectors), expected)


# Two models


ABOUT = {"predictions": "x", "indir": "y", "images": 30, "evaluation_set": ["5e7"]}


def written(folder, images, shift, metrics=("psnr", "l1"), weights=None, **about_it):
    names, completed, target, mask = images
    evaluator = evaluated((names, (completed * (1 - shift)), target, mask), 30, metrics=list(metrics))
    evaluator.weights_sha256 |= weights or {}
    described = about(ABOUT | about_it, evaluator)
    return write_results(folder, evaluator.compute(), {}, evaluator.per_image(), described, "")


def test_two_models_are_compared_on_every_metric_they_share(tmp_path, images):
    from lama.evaluation.compare import compare

    a, b = written(tmp_path / "a", images, 0.0), written(tmp_path / "b", images, 0.3, metrics=("psnr", "psnr_hole"))
    results = compare(a, b)
    assert list(results) == ["psnr"]
    assert (results["psnr"]["wins"], results["psnr"]["losses"]) == (30, 0)
    assert results["psnr"]["ci95"][0] > 0
    assert results["psnr"]["p"] < 1e-6
    assert compare(a / "metrics.json", b) == results


def test_a_comparison_names_the_metrics_of_packages_that_are_not_imported(tmp_path, images, capsys):
    from lama.commands.compare import main

    folders = [written(tmp_path / name, images, shift) for name, shift in (("a", 0.0), ("b", 0.1))]
    for folder in folders:
        file = folder / "metrics.json"
        content = json.loads(file.read_text())
        content["overall"]["rough_of_paper"] = content["overall"]["psnr"]
        file.write_text(json.dumps(content | {"configuration": {"plugins": ["paper"]}}))
    main([*map(str, folders), f"outdir={tmp_path / 'out'}"])
    for text in (capsys.readouterr().out, (tmp_path / "out" / "comparison.md").read_text()):
        assert "\nrough_of_paper left out; add plugins=[paper]\n" in text
    with pytest.raises(ValueError, match="paper_of_nobody"):
        main([*map(str, folders), "plugins=[paper_of_nobody]"])


def test_one_model_is_compared_with_many_on_the_screen_and_in_files(tmp_path, images, capsys):
    from lama.commands.compare import main
    from lama.evaluation.compare import compare

    shifts = {"a": 0.0, "b": 0.001, "c": 0.3}
    folders = [str(written(tmp_path / name / "faces", images, shift)) for name, shift in shifts.items()]
    main([*folders, "plugins=[]", f"outdir={tmp_path / 'out'}"])
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["first"] == "a/faces"
    pairs = {name: compare(folders[0], folder)["psnr"] for name, folder in zip("bc", folders[1:], strict=True)}
    found = {name: content["others"][f"{name}/faces"]["psnr"] for name in "bc"}
    for name in "bc":
        assert found[name]["difference"] == pairs[name]["difference"]
        assert tuple(found[name]["ci95"]) == pairs[name]["ci95"]
    assert [found[name]["p_holm"] for name in "bc"] == pytest.approx(holm([pairs[name]["p"] for name in "bc"]))
    row = next(line for line in printed.splitlines() if "| c/faces |" in line)
    assert row.startswith(f"| PSNR ↑ | c/faces | {METRICS['psnr'].text(pairs['c']['a'])} | ")
    assert "| n/a |" in row  # one training each: no interval over trainings
    assert row in (tmp_path / "out" / "comparison.md").read_text()
    assert "left out" not in printed
    assert "c/faces & " in (tmp_path / "out" / "comparison.tex").read_text()
    lines = list(csv.DictReader((tmp_path / "out" / "comparison.csv").open()))
    assert [float(one["difference"]) for one in lines if one["metric"] == "psnr"] == [
        found[name]["difference"] for name in "bc"
    ]
    with pytest.raises(ValueError, match=r"a/faces.*given twice"):
        main([folders[0], folders[0]])
    with pytest.raises(ValueError, match="two evaluations"):
        main([folders[0], "outdir=x"])


def test_two_trainings_of_several_seeds_are_compared_over_images_and_over_seeds(tmp_path, images):
    from lama.evaluation.compare import compare

    shifts = {"a": (0.0, 0.02, 0.04), "b": (0.3, 0.32, 0.31)}
    for row, values in shifts.items():
        for seed, shift in enumerate(values):
            written(tmp_path / row / f"seed{seed}" / "thick", images, shift)
    result = compare(tmp_path / "a", tmp_path / "b", "thick")["psnr"]
    singly = [compare(*(tmp_path / row / f"seed{seed}" / "thick" for row in "ab"))["psnr"] for seed in range(3)]
    assert result["difference"] == pytest.approx(np.mean([one["difference"] for one in singly]))
    assert result["ci95"][0] <= result["difference"] <= result["ci95"][1]
    means = {row: np.array([one[row] for one in singly]) for row in "ab"}
    var = {row: means[row].var(ddof=1) / 3 for row in "ab"}
    df = sum(var.values()) ** 2 / sum(v**2 / 2 for v in var.values())
    half = stats.t.ppf(0.975, df) * sum(var.values()) ** 0.5
    assert result["seeds_ci95"] == pytest.approx((result["difference"] - half, result["difference"] + half))
    assert result["p"] == pytest.approx(stats.ttest_ind(means["a"], means["b"], equal_var=False).pvalue)
    assert result["p"] > max(one["p"] for one in singly)  # three trainings prove less than thirty images
    assert all(one["seeds_ci95"] is None for one in singly)
    assert result["seeds"] == (3, 3)
    with warnings.catch_warnings():  # seeds that do not differ: nothing to judge by, and nothing of scipy's
        warnings.simplefilter("error")
        assert welch(np.full(3, 0.5), np.full(3, 0.5)) is None
    from lama.commands.compare import main

    rows = [str(tmp_path / row) for row in "ab"]
    for given in (["set=thick"], ["--set", "thick"]):
        main([*rows, *given, f"outdir={tmp_path / 'out'}"])
        assert json.loads((tmp_path / "out" / "comparison.json").read_text())["others"]["b"]["psnr"]["p"] == result["p"]
    with pytest.raises(ValueError, match=rf"{tmp_path}/a: .*set=.*thick"):
        main(rows)
    with pytest.raises(FileNotFoundError, match=r"a.*thin/metrics\.json"):
        compare(tmp_path / "a", tmp_path / "b", "thin")
    written(tmp_path / "a" / "seed2" / "thick", images, 0.0, evaluation_set=["other"])
    with pytest.raises(ValueError, match="evaluation_set"):
        compare(tmp_path / "a", tmp_path / "b", "thick")


@pytest.mark.parametrize(
    ("name", "content"),
    [("metrics.json", "[1, 2]"), ("metrics.json", '{"overall"'), ("metrics.json", "{}"), ("per_image.csv", ""),
     ("per_image.csv", "name,psnr\na,abc\n"), ("per_image.csv", "x,psnr\na,1\n")],
)  # fmt: skip
def test_a_damaged_evaluation_is_named_and_not_compared(tmp_path, images, name, content):
    from lama.evaluation.compare import compare

    a, b = written(tmp_path / "a", images, 0.0), written(tmp_path / "b", images, 0.3)
    (b / name).write_text(content)
    with pytest.raises(ValueError, match=f"{b}: .*metrics.json.*per_image.csv"):
        compare(a, b)


def test_only_evaluations_of_the_same_images_are_compared(tmp_path, images):
    from lama.evaluation.compare import compare

    names, *tensors = images
    a = written(tmp_path / "a", images, 0.0)
    fewer = written(tmp_path / "b", (names[:-1], *(x[:-1] for x in tensors)), 0.0)
    with pytest.raises(ValueError, match=r"images.*\b1\b.*\b29$"):
        compare(a, fewer)
    with pytest.raises(ValueError, match="evaluation_set"):
        compare(a, written(tmp_path / "c", images, 0.0, evaluation_set=["other"]))
    one, other = ({"lpips_alex": name, "fid_inception": "z"} for name in "pq")
    d, e = (written(tmp_path / w["lpips_alex"], images, 0.0, weights=w) for w in (one, other))
    with pytest.raises(ValueError, match=r"weights.*lpips_alex"):
        compare(d, e)
    with pytest.raises(FileNotFoundError, match=r"nowhere/metrics\.json"):
        compare(a, tmp_path / "nowhere")


def test_no_fid_is_computed_where_none_is_asked_for(tiny_inception, images, monkeypatch):
    monkeypatch.setattr("lama.evaluation.fid.frechet_distance", lambda *_: pytest.fail("a FID was computed"))
    assert list(evaluated(images, 30, metrics=["kid", "psnr"]).compute()) == ["kid", "psnr"]


MANY = """
import numpy as np, torch
from lama.evaluation import Evaluator
from lama.evaluation.features import NETWORKS
features = np.random.default_rng(0)
class Simulated:
    sha256 = "none"
    def __call__(self, image):
        return features.standard_normal((len(image), 2048), np.float32)
NETWORKS["inception"] = lambda *_: Simulated()
evaluator = Evaluator(["psnr", "fid", "kid"])
for start in range(0, 36500, 100):
    image = torch.rand(100, 3, 32, 32)
    evaluator.update([f"{start + i:06d}" for i in range(100)], image, image.flip(3), torch.ones(100, 1, 32, 32))
assert evaluator.compute()["fid"]["n"] == 36500
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.mark.slow
def test_as_many_images_as_the_paper_has_take_less_than_2_gb(root):
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True, cwd=root)
    print(f"\n36 500 images, simulated features: {int(done.stdout) / 1e9:.2f} GB")
    assert int(done.stdout) < 2e9

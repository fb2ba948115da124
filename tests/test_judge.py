"""Metrics of object removal with CLIP, DINOv2 and SAM: equal to the published formulas, on small random networks."""

import ast
import importlib.util
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import scipy.spatial
import torch
from budget import within
from PIL import Image
from scipy import ndimage
from vision_transformers import (
    clip_embedding,
    clip_shapes,
    clip_state,
    dinov2_shapes,
    dinov2_state,
    dinov2_tokens,
    sam_features,
    sam_shapes,
    sam_state,
)

from lama.evaluation import METRICS, PRESETS, Evaluator
from lama.evaluation.rc_s import boxes
from lama.evaluation.transformers import clip, dinov2, sam_encoder

if importlib.util.find_spec("timm") is None:
    pytest.skip("needs the extra judge: pip install '.[judge]'", allow_module_level=True)
STATES = {
    "clip_vit_l14_336": clip_state(),
    "dinov2_vitl14": dinov2_state(depth=1, seed=1),
    "dinov2_vitg14": dinov2_state(width=48, hidden=32, depth=1, gated=True, seed=2),
    "sam_vit_h": sam_state(grid=8, windows=(3, 8)),
}
OF = {"cmmd": "clip_vit_l14_336", "fd_dinov2": "dinov2_vitl14", "rc_s": "dinov2_vitg14", "remove": "sam_vit_h"}
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CLIP = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


@pytest.fixture(autouse=True)
def a_small_giant(monkeypatch):
    monkeypatch.setattr("lama.evaluation.rc_s.WIDTH", 48)


def as_tensors(state):
    return {name: torch.from_numpy(values) for name, values in state.items()}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for name, state in STATES.items():
        torch.save(as_tensors(state), folder / f"{name}.pth")
    return {name: str(folder / f"{name}.pth") for name in STATES}


def texture(seed, height=60, width=76):
    """A random texture, (height, width, 3), 0..255."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (1.2, 1.2, 0))
    return (128 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def hole_of(height=60, width=76):
    """Two parts, of 504 and 12 pixels; the smaller one does not count for RC-S."""
    mask = np.zeros((height, width), bool)
    mask[20:41, 30:54] = True
    mask[5:9, 3:6] = True
    return mask


def tensors(images, masks):
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return stack, torch.from_numpy(np.stack(masks))[:, None].float()


@pytest.fixture(scope="module")
def pictures():
    """(names, completed, target, mask) of 24 textures, of which the hole is a part of another one."""
    mask = hole_of()
    target = [texture(i) for i in range(24)]
    completed = [np.where(mask[..., None], texture(100 + i), image) for i, image in enumerate(target)]
    completed, masks = tensors(completed, [mask] * 24)
    return [f"{i:02d}" for i in range(24)], completed, tensors(target, [mask])[0], masks


def evaluated(pictures, weights, metrics=tuple(OF), batch=24, **options):
    evaluator = Evaluator(list(metrics), weights, min_images=2, **options)
    names, *images = pictures
    for i in range(0, len(names), batch):
        evaluator.update(names[i : i + batch], *(x[i : i + batch] for x in images))
    return evaluator


def arrays(images):
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


def prepared(image, mean, std):
    """(h, w, 3), 0..255 -> (3, h, w), normalised, in double precision."""
    return ((image / 255 - mean) / std).transpose(2, 0, 1)


# The networks


def test_the_networks_equal_the_published_ones(weights):
    """In double precision: a norm with another epsilon differs by more."""
    rng = np.random.default_rng(0)
    for name, offset in (("dinov2_vitl14", 0.1), ("dinov2_vitg14", 0.0)):
        image = rng.standard_normal((3, 112, 112))
        got = dinov2(name, weights[name], 8, offset).double().forward_features(torch.from_numpy(image)[None])[0]
        np.testing.assert_allclose(got.numpy(), dinov2_tokens(STATES[name], image, offset), atol=1e-6)
    network, side = clip("clip_vit_l14_336", weights["clip_vit_l14_336"])
    image = rng.standard_normal((3, side, side))
    expected = clip_embedding(STATES["clip_vit_l14_336"], image)
    np.testing.assert_allclose(network.double()(torch.from_numpy(image)[None])[0].numpy(), expected, atol=1e-9)
    network, side = sam_encoder("sam_vit_h", weights["sam_vit_h"])
    image = rng.standard_normal((3, side, side))
    got = network.double().forward_features(torch.from_numpy(image)[None])[0]
    np.testing.assert_allclose(got.numpy(), sam_features(STATES["sam_vit_h"], image), atol=1e-9)


RELEASED = {  # as their papers describe them
    "vit_giant_patch14_dinov2": dinov2_shapes(width=1536, depth=40, grid=37, hidden=4096, gated=True),
    "vit_large_patch14_dinov2": dinov2_shapes(width=1024, depth=24, grid=37, hidden=4096),
    "vit_large_patch14_clip_quickgelu_336": clip_shapes(width=1024, depth=24, grid=24, out=768),
    "samvit_huge_patch16": sam_shapes(1280, 80, 64, [64 if i % 8 == 7 else 14 for i in range(32)], 5120, 256),
}


@pytest.mark.parametrize("name", RELEASED)
def test_files_of_the_released_sizes_give_the_released_networks(name, monkeypatch):
    """On the meta device: the same parameters, heads and windows as the network of that name in timm."""
    import timm

    empty = {key: torch.empty(shape, device="meta") for key, shape in RELEASED[name].items()}
    part = {"clip": "visual.", "samv": "image_encoder."}.get("clip" if "clip" in name else name[:4], "")
    read = lambda *_: {key: value for key, value in empty.items() if key.startswith(part)}  # noqa: E731
    monkeypatch.setattr("lama.evaluation.transformers._read", read)
    sizes = {"num_classes": 0}
    if "dinov2" in name:
        network, sizes = dinov2("dinov2_vitg14", "file", 32), sizes | {"img_size": 448}
    elif "clip" in name:
        (network, side), sizes = clip("clip_vit_l14_336", "file"), {"num_classes": 768}
        assert side == 336
    else:
        network, side = sam_encoder("sam_vit_h", "file")
        assert side == 1024
    with torch.device("meta"):
        expected = timm.create_model(name, **sizes)
    shapes = [{key: value.shape for key, value in one.state_dict().items()} for one in (network, expected)]
    assert shapes[0] == shapes[1]
    for ours, theirs in zip(network.blocks, expected.blocks, strict=True):
        assert ours.attn.num_heads == theirs.attn.num_heads
        assert getattr(ours, "window_size", None) == getattr(theirs, "window_size", None)


class Holder(torch.nn.Module):
    """A TorchScript module in half precision with tensors under nested names, as OpenAI releases CLIP."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            first, _, rest = name.partition(".")
            if not rest:
                self.register_parameter(name, torch.nn.Parameter(value.half(), requires_grad=False))
            elif not hasattr(self, first):
                below = {key.partition(".")[2]: v for key, v in state.items() if key.startswith(f"{first}.")}
                self.add_module(first, Holder(below))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_clip_is_read_from_a_torchscript_file_in_half_precision(tmp_path):
    halves = {name: values.half() for name, values in as_tensors(clip_state()).items()}
    torch.jit.save(torch.jit.script(Holder(halves)), tmp_path / "ViT-L-14-336px.pt")
    network, side = clip("clip_vit_l14_336", tmp_path / "ViT-L-14-336px.pt")
    image = np.random.default_rng(1).standard_normal((3, side, side))
    expected = clip_embedding({name: values.float().numpy() for name, values in halves.items()}, image)
    np.testing.assert_allclose(network(torch.from_numpy(image)[None].float())[0].numpy(), expected, atol=3e-5)


@pytest.mark.parametrize("metric", OF)
def test_a_file_of_another_network_is_refused_by_name(metric, weights, tmp_path):
    name = OF[metric]
    other = weights["sam_vit_h" if name != "sam_vit_h" else "dinov2_vitl14"]
    with pytest.raises(ValueError, match=rf"weights\.{name}: .*{other}.* another network"):
        Evaluator([metric], {name: other})
    state = as_tensors(STATES[name])
    del state[sorted(key for key in state if "blocks.0" in key)[0]]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(ValueError, match=rf"weights\.{name}: .*less\.pth .*another network"):
        Evaluator([metric], {name: str(tmp_path / "less.pth")})


def test_rc_s_takes_the_giant_network_only(weights):
    """No sha256 of its file is known, so nothing else would tell."""
    with pytest.raises(ValueError, match=rf"weights\.dinov2_vitg14: {weights['dinov2_vitl14']} .*128 channels.*48"):
        Evaluator(["rc_s"], {"dinov2_vitg14": weights["dinov2_vitl14"]})


@pytest.mark.parametrize("metric", OF)
def test_without_weights_or_package_a_metric_is_not_available(metric, pictures, weights, monkeypatch, tmp_path):
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    few = [x[:2] for x in pictures]
    result = evaluated(few, {}, ["l1", metric]).compute()
    assert result["l1"]["n"] == 2
    assert result[metric] == {"mean": None, "n": 0, "note": result[metric]["note"]}
    assert " is missing" in result[metric]["note"]
    monkeypatch.setitem(sys.modules, "timm.layers", None)
    note = evaluated(few, weights, [metric]).compute()[metric]["note"]
    assert note.startswith("not available: timm is missing: pip install")


# The metrics against their formulas


def embeddings(images):
    """CLIP's embeddings by the steps of the published code."""
    rows = []
    for image in arrays(images):
        height, width = image.shape[:2]
        length = min(height, width)
        top, left = (height - length) // 2, (width - length) // 2
        square = Image.fromarray(image).crop((left, top, left + length, top + length))
        small = np.asarray(square.resize((28, 28), Image.Resampling.BICUBIC))
        row = clip_embedding(STATES["clip_vit_l14_336"], prepared(small, *CLIP))
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def kernel_mean(x, y):
    return np.mean([[np.exp(-np.sum((a - b) ** 2) / 200) for b in y] for a in x])


def test_cmmd_equals_its_formula(pictures, weights):
    _, completed, target, _ = pictures
    x, y = embeddings(completed), embeddings(target)
    expected = 1000 * (kernel_mean(x, x) + kernel_mean(y, y) - 2 * kernel_mean(x, y))
    result = evaluated(pictures, weights, ["cmmd"]).compute()["cmmd"]
    assert expected > 0.01
    within("CMMD", result["mean"], expected)
    assert result["ci95"][0] < result["mean"] < result["ci95"][1] + result["mean"]


def test_the_interval_of_cmmd_is_the_bootstrap_over_pairs(monkeypatch):
    from lama.evaluation.cmmd import mean_discrepancy
    from lama.evaluation.statistics import set_interval

    rng = np.random.default_rng(0)
    monkeypatch.setattr("lama.evaluation.cmmd.ROWS", 32)
    x, y = (torch.from_numpy(rng.standard_normal((90, 3)) + shift) for shift in (0, 0.5))
    drawn = rng.integers(0, 90, (2, 90))
    one_by_one = [float(mean_discrepancy(x[i], y[i])[0]) for i in drawn]
    np.testing.assert_allclose(mean_discrepancy(x, y, drawn).numpy(), one_by_one, rtol=1e-9)
    statistic = lambda i: float(mean_discrepancy(x[:40][i], y[:40][i])[0])  # noqa: E731
    at_once = set_interval(lambda drawn: mean_discrepancy(x[:40], y[:40], drawn).numpy(), 40, at_once=True)
    assert at_once == pytest.approx(set_interval(statistic, 40), rel=1e-9)


def test_the_dinov2_distance_equals_its_formula(pictures, weights):
    rows, pictures = [], [x[:8] for x in pictures]
    for images in pictures[1:3]:
        small = [
            np.asarray(Image.fromarray(one).resize((224, 224), Image.Resampling.BICUBIC)) for one in arrays(images)
        ]
        rows.append([dinov2_tokens(STATES["dinov2_vitl14"], prepared(one, *IMAGENET), 0.1)[0] for one in small])
    x, y = (np.stack(vectors) for vectors in rows)
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(sx @ sy).real.clip(min=0)).sum()  # fewer images than dimensions: no sqrtm
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(sx) + np.trace(sy) - 2 * root
    for protocol in ("lama", "mat"):  # whose FID has another covariance
        result = evaluated(pictures, weights, ["fd_dinov2"], protocol=protocol, intervals=False).compute()
        within("FD-DINOv2", result["fd_dinov2"]["mean"], expected)


def rc_s(image, mask):
    """RC-S of one image by the steps of the published code, with the square that holds the larger part of the hole."""
    (x1, y1, x2, y2), tokens_of = square_of(mask), lambda x: dinov2_tokens(STATES["dinov2_vitg14"], x)[1:]
    small = cv2.resize(image[y1:y2, x1:x2], (448, 448), interpolation=cv2.INTER_LINEAR)
    hole = cv2.resize(mask[y1:y2, x1:x2].astype(np.float32), (448, 448), interpolation=cv2.INTER_NEAREST)
    hole = hole.reshape(32, 14, 32, 14).max(axis=(1, 3)) > 0
    tokens = tokens_of(prepared(small, *IMAGENET)).reshape(32, 32, -1)
    tokens = tokens / np.linalg.norm(tokens, axis=2, keepdims=True)
    found = {"mixed": [], "inside": []}
    for i in range(0, 25, 4):
        for j in range(0, 25, 4):
            window, within = tokens[i : i + 8, j : j + 8], hole[i : i + 8, j : j + 8]
            if within.sum() > 5 and (~within).sum() > 5:
                found["mixed"].append(discrepancy(window[within], window[~within]))
            elif within.all():
                found["inside"].append(discrepancy(window[within], tokens[~hole]))
    assert min(map(len, found.values())) > 0
    return np.exp(-np.mean(found["mixed"] + found["inside"]) / 3)


def square_of(mask):
    """(left, top, right, bottom): 24 pixels around the larger part, and 8 more on each side."""
    assert mask[20:41, 30:54].all()
    return 22, 10, 62, 50  # centre (42, 30.5): round(18.5) = 18, half to even


def discrepancy(x, y):
    kernel = lambda a, b: np.exp(-scipy.spatial.distance.cdist(a, b, "sqeuclidean") / 200).mean()  # noqa: E731
    return 1000 * (kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))


def test_rc_s_equals_its_formula(pictures, weights):
    names, completed, target, mask = (x[:2] for x in pictures)
    evaluator = evaluated((names, completed, target, mask), weights, ["rc_s"])
    expected = [rc_s(image, hole_of()) for image in arrays(completed)]
    assert all(0.02 < value < 0.98 for value in expected)
    within("RC-S", evaluator.scores["rc_s"], expected)


def test_the_squares_of_rc_s_stay_in_the_image():
    mask = np.zeros((50, 40), bool)
    mask[0:30, 10:20] = True  # touches the edge: no room for more
    mask[45, 30:33] = True  # 3 pixels, left out
    assert boxes(mask) == [(slice(0, 30), slice(0, 30))]
    mask[0:30, 10:20] = False
    assert boxes(mask) == [(slice(43, 48), slice(29, 34))]  # the only one: round(3 / 3) more on each side, cut by // 2
    wide = np.zeros((20, 90), bool)
    wide[8:12, 10:80] = True  # its square is higher than the image
    assert boxes(wide) == [(slice(0, 20), slice(10, 30))]
    assert boxes(np.zeros((8, 8), bool)) == []


class Double(torch.nn.Module):
    """A network in double precision: the random encoder of SAM magnifies the rounding of single precision."""

    def __init__(self, network):
        super().__init__()
        self.network = network.double()

    def forward_features(self, x):
        return self.network.forward_features(x.double())


def remove(image, mask):
    """ReMOVE of one image by the steps of the published code."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    room = [columns.min(), rows.min(), width - columns.max(), height - rows.max()]
    margin = 16 if room[0] >= 16 and room[1] >= 16 and room[2] >= 16 and room[3] >= 16 else min(room)
    left, top = columns.min() - margin, rows.min() - margin
    size = max(np.ptp(rows), np.ptp(columns)) + 1 + 2 * margin
    cut, hole = image[top : top + size, left : left + size], mask[top : top + size, left : left + size]
    scale = 128 / max(cut.shape[:2])
    small = (int(cut.shape[1] * scale + 0.5), int(cut.shape[0] * scale + 0.5))
    resized = np.asarray(Image.fromarray(cut).resize(small, Image.Resampling.BILINEAR))
    whole = np.zeros((3, 128, 128))
    whole[:, : small[1], : small[0]] = prepared(resized, *IMAGENET)
    features = sam_features(STATES["sam_vit_h"], whole)
    inside = (
        np.asarray(Image.fromarray(hole.astype(np.uint8) * 255).resize((8, 8), Image.Resampling.BICUBIC)) // 255 == 1
    )
    a, b = features[:, inside].mean(axis=1), features[:, ~inside].mean(axis=1)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("place", [np.s_[20:41, 22:50], np.s_[3:40, 30:60], np.s_[20:59, 45:75]])
def test_remove_equals_its_formula(place, weights):
    mask = np.zeros((60, 76), bool)
    mask[place] = True
    image = texture(5)
    picture = (["a"], *tensors([image], [mask]))
    scorer = Evaluator(["remove"], weights).scorers["remove"]
    within("ReMOVE", scorer.score(picture[1], None, picture[2]).item(), remove(image, mask))
    scorer.network = Double(scorer.network)
    assert scorer.score(picture[1], None, picture[2]).item() == pytest.approx(remove(image, mask), abs=1e-6)


def test_metrics_of_the_hole_need_a_hole(weights):
    images = tensors([texture(0)], [np.zeros((60, 76), bool)])
    result = evaluated((["a"], images[0], images[0], images[1]), weights, ["rc_s", "remove"]).compute()
    assert [result[name]["note"] for name in ("rc_s", "remove")] == ["not available: no image has a hole"] * 2


# What they rise and fall with


def filled_with(damage, strength, count=4):
    """(names, completed, target, mask): holes with the truth, damaged."""
    mask, target = hole_of(), [texture(i) for i in range(count)]
    rng = np.random.default_rng(0)
    damaged = [damage(image.astype(float), strength, rng).clip(0, 255).round().astype(np.uint8) for image in target]
    completed = [np.where(mask[..., None], fill, image) for fill, image in zip(damaged, target, strict=True)]
    completed, masks = tensors(completed, [mask] * count)
    return [f"{i:02d}" for i in range(count)], completed, tensors(target, [mask])[0], masks


DAMAGES = {
    "blur": (lambda x, s, _: ndimage.gaussian_filter(x, (s, s, 0)), (2, 3, 6)),
    "noise": (lambda x, s, rng: x + rng.normal(0, s, x.shape), (15, 40, 90)),
    "colour cast": (lambda x, s, _: x + np.array([s, 0, -s]), (15, 30, 60)),
}


class Plain(torch.nn.Module):
    """In place of a transformer, whose random features know no texture: 1, mean colour and contrast around a patch."""

    def __init__(self, patch, window, tokens):
        super().__init__()
        self.embed_dim = 48
        self.patch, self.window, self.tokens = patch, window, tokens

    def forward_features(self, x):
        x = torch.nn.functional.pad(x, [(self.window - self.patch) // 2] * 4, mode="reflect")
        mean, squares = (torch.nn.functional.avg_pool2d(y, self.window, self.patch) for y in (x, x.square()))
        contrast = 3 * ((squares - mean.square()).clamp(min=0).sqrt() - 0.6)
        features = torch.cat([torch.ones_like(mean[:, :1]), mean, contrast], dim=1)
        return torch.nn.functional.pad(features.flatten(2).mT, (0, 0, 1, 0)) if self.tokens else features


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr("lama.evaluation.rc_s.dinov2", lambda *_: Plain(14, 70, tokens=True))
    monkeypatch.setattr("lama.evaluation.remove.sam_encoder", lambda *_: (Plain(16, 16, tokens=False), 128))


def measured(metric, damage, strength, weights):
    return evaluated(filled_with(damage, strength), weights, [metric], intervals=False).compute()[metric]["mean"]


@pytest.mark.parametrize("metric", OF)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_metric_gets_worse_with_more_damage(metric, damage, weights, plain):
    make, strengths = DAMAGES[damage]
    values = [measured(metric, make, strength, weights) for strength in (0, *strengths)]
    sign = -1 if METRICS[metric].higher_is_better else 1
    assert (sign * np.diff(values) > 0).all(), values


def test_texture_copied_from_the_surroundings_is_as_good_as_the_truth_to_metrics_without_a_truth(weights, plain):
    truth, copied, flat = lambda x, *_: x, lambda x, *_: np.roll(x, 25, axis=0), lambda x, *_: 0 * x + x.mean((0, 1))
    for metric in ("rc_s", "remove"):
        best, same, worse = (measured(metric, damage, 0, weights) for damage in (truth, copied, flat))
        assert same == pytest.approx(best, abs=0.1)
        assert worse < min(best, same) - 0.05
    best, same, worse = (measured("fd_dinov2", damage, 0, weights) for damage in (truth, copied, flat))
    assert best < 1e-6 < same < worse


# One pass


class Counted(torch.nn.Module):
    """A network that counts the images it sees."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, 0

    def forward(self, x):
        self.seen += len(x)
        return self.network(x)

    def forward_features(self, x):
        self.seen += len(x)
        return self.network.forward_features(x)


def test_two_runs_give_the_same_bytes_and_batches_change_nothing(pictures, weights):
    texts = []
    for batch in (8, 8, 7, 1):
        evaluator = evaluated([x[:8] for x in pictures], weights, batch=batch)
        texts.append(json.dumps([evaluator.compute(), evaluator.compute_groups(), evaluator.per_image()]))
    assert texts[0] == texts[1]
    first = json.loads(texts[0])[0]
    for text in texts[2:]:
        found = {name: result["mean"] for name, result in json.loads(text)[0].items()}
        within("metrics of networks, any batch", found, {name: first[name]["mean"] for name in found})
    assert set(first) == set(OF)


def test_every_network_sees_every_picture_once(pictures, weights):
    evaluator = Evaluator(["cmmd", "fd_dinov2"], weights, min_images=2)
    counted = {}
    for key, network in evaluator.networks.items():
        network.network = counted[key] = Counted(network.network)
    names, completed, target, mask = pictures
    for i in range(0, 24, 5):
        part = slice(i, i + 5)
        evaluator.update(names[part], completed[part], target[part], mask[part])
        evaluator.update([f"again {name}" for name in names[part]], target[part], target[part], mask[part])
    assert {key: network.seen for key, network in counted.items()} == {"clip": 48, "dinov2": 48}
    assert evaluator.compute()["cmmd"]["n"] == 48


def test_the_preset_for_removal_has_metrics_of_every_kind():
    names = PRESETS["removal"]
    assert set(OF) <= set(names) <= set(METRICS)
    assert {"fid", "psnr_background", "lpips_alex_hole", "boundary_error", "sharpness_error", "dots_2"} <= set(names)


MANY = """
import collections, sys, torch, lama.evaluation.rc_s, lama.evaluation.remove
from lama.evaluation import Evaluator
seen = collections.Counter()
lama.evaluation.rc_s.WIDTH = 48
weights = dict(pair.split("=") for pair in sys.argv[1:])
evaluator = Evaluator(["psnr", "boundary_error", "cmmd", "fd_dinov2", "rc_s", "remove"], weights, intervals=False)
counted = {key: network.network for key, network in evaluator.networks.items()}
counted |= {key: evaluator.scorers[key].network for key in ("rc_s", "remove")}
for key, network in counted.items():
    network.patch_embed.register_forward_pre_hook(lambda _, x, key=key: seen.update({key: len(x[0])}))
resident, mask = [], torch.zeros(20, 1, 48, 48)
mask[:, :, 16:30, 14:30] = 1
generator = torch.Generator().manual_seed(0)
for start in range(0, 2000, 20):
    target = (torch.rand(20, 3, 48, 48, generator=generator) * 255).round() / 255
    completed = torch.where(mask > 0, target.flip(3), target)
    evaluator.update([f"{start + i:06d}" for i in range(20)], completed, target, mask)
    resident.append(int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) // 1024)
assert {result["n"] for result in evaluator.compute().values()} == {2000}
print(dict(seen), resident[24], resident[-1], sep="\\n")
"""


@pytest.mark.slow
def test_2000_pictures_take_one_look_of_every_network_and_no_more_memory_than_500(weights, root):
    given = [f"{name}={file}" for name, file in weights.items()]
    done = subprocess.run([sys.executable, "-c", MANY, *given], capture_output=True, text=True, check=True, cwd=root)
    seen, at_500, at_2000 = done.stdout.splitlines()
    print(f"\n2 000 pictures: {seen}; {at_500} MB after 500, {at_2000} MB after all")
    assert ast.literal_eval(seen) == {"clip": 4000, "dinov2": 4000, "rc_s": 2000, "remove": 2000}
    assert int(at_2000) - int(at_500) < 50

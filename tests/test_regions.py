"""Metrics by region without a transformer: the seam, sharpness, LPIPS and SSIM of the hole and of the background."""

import lpips
import numpy as np
import pytest
import torch
from budget import within
from scipy import ndimage

from lama.evaluation import METRICS, Evaluator
from lama.evaluation.metrics import families
from lama.evaluation.seam import BoundaryError
from lama.evaluation.sharpness import RING, SharpnessError


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(3, 3, 40, 52, generator=generator) * 255).round() / 255
    completed = ((0.7 * target + 0.3 * torch.rand(3, 3, 40, 52, generator=generator)) * 255).round() / 255
    mask = torch.zeros(3, 1, 40, 52)
    mask[0, 0, 10:20, 12:30] = 1
    mask[1, 0, :15, :9] = 1  # three of its four sides, and one corner
    return completed, target, mask


def test_the_boundary_error_counts_every_pair_across_the_edge(images):
    completed, target, mask = (x.double().numpy() for x in images)
    wrong, pairs = 0.0, 0
    for i in range(40):
        for j in range(52):
            for other in ((i + 1, j), (i, j + 1)):
                if other[0] < 40 and other[1] < 52 and mask[0, 0, i, j] != mask[0, 0][other]:
                    step = (x[0, :, i, j] - x[0][(slice(None), *other)] for x in (completed, target))
                    wrong += np.abs(np.subtract(*step)).mean()
                    pairs += 1
    scores = BoundaryError().score(*images)
    within("boundary error", scores[0], wrong / pairs)
    assert pairs == 2 * (10 + 18)
    assert scores.isnan().tolist() == [False, False, True]


def test_the_boundary_error_sees_the_edge_only(images):
    _, target, mask = images
    inside = torch.from_numpy(ndimage.binary_erosion(mask[:1, 0].numpy() > 0, np.ones((1, 3, 3))))[:, None]
    changed = torch.where(inside, 1 - target[:1], target[:1])
    assert BoundaryError().score(changed, target[:1], mask[:1]).item() == 0


def picture(side=128):
    """A texture with a hole of 40 x 48 pixels."""
    noise = np.random.default_rng(1).standard_normal((side, side, 3))
    texture = ndimage.gaussian_filter(noise, (1, 1, 0))
    texture = (0.5 + 0.15 * texture / texture.std()).clip(0, 1)
    mask = np.zeros((side, side), bool)
    mask[40:80, 36:84] = True
    return texture, mask


def score_of(metric, fill):
    texture, mask = picture()
    completed = np.where(mask[..., None], fill, texture)
    tensors = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (completed, texture, mask[..., None].astype(float)))
    return metric.score(*tensors).item()


def damages(texture):
    rng = np.random.default_rng(2)
    return {
        "blur": [ndimage.gaussian_filter(texture, (s, s, 0)) for s in (0.7, 1.5, 4)],
        "noise": [texture + rng.normal(0, s, texture.shape) for s in (0.1, 0.2, 0.4)],
        "colour cast": [texture + s * np.array([1, 0, -1]) for s in (0.05, 0.1, 0.3)],
        "shift": [np.roll(texture, s, axis=1) for s in (1, 2, 4)],
    }


@pytest.mark.parametrize("damage", ["blur", "noise", "colour cast", "shift"])
def test_the_boundary_error_rises_with_damage(damage):
    texture, _ = picture()
    values = [score_of(BoundaryError(), fill) for fill in (texture, *damages(texture)[damage])]
    assert values[0] == 0
    assert (np.diff(values) > (0 if damage != "shift" else -0.02)).all(), values  # any shift breaks the edge


@pytest.mark.parametrize("damage", ["blur", "noise", "colour cast", "shift"])
def test_the_sharpness_error_rises_with_blur_and_noise_and_ignores_colour_and_place(damage):
    texture, _ = picture()
    values = [score_of(SharpnessError(), fill) for fill in (texture, *damages(texture)[damage])]
    assert values[0] < 0.05
    if damage in ("blur", "noise"):
        assert (np.diff(values) > 0).all(), values
        assert values[-1] > 1
    else:
        np.testing.assert_allclose(values, values[0], atol=0.05)


def test_sharpness_is_the_ratio_of_gradients_in_octaves():
    """A ramp of slope 2 a pixel in the hole, of slope 1 in its ring; beyond the ring nothing counts."""
    image = np.zeros((200, 200))
    mask = np.zeros((200, 200), bool)
    mask[80:120, 80:120] = True
    ring = ndimage.binary_dilation(mask, np.ones((2 * RING + 1, 2 * RING + 1)))
    image[ring] = np.broadcast_to(0.002 * np.arange(200), (200, 200))[ring]
    image[mask] = np.broadcast_to(0.004 * np.arange(200), (200, 200))[mask]
    completed = torch.from_numpy(image).expand(1, 3, 200, 200)
    floor = (0.5 / 255) ** 2
    expected = 0.5 * np.log2((0.004**2 / 2 + floor) / (0.002**2 / 2 + floor))
    score = SharpnessError().score(completed, completed, torch.from_numpy(mask)[None, None].double())
    within("sharpness error", score.item(), expected)


def test_without_a_hole_or_surroundings_there_is_no_sharpness(images):
    completed, target, mask = images
    assert SharpnessError().score(completed, target, torch.ones_like(mask)).isnan().all()
    assert SharpnessError().score(completed, target, torch.zeros_like(mask)).isnan().all()


# LPIPS and SSIM by region


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.manual_seed(0)
    network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    torch.save({key: value for key, value in network.state_dict().items() if key.startswith("net.")}, file)
    return network, {"lpips_squeeze": str(file)}


REGIONS = ["lpips_squeeze", "lpips_squeeze_hole", "lpips_squeeze_background"]


def evaluated(images, weights, metrics=REGIONS, cache=None):
    evaluator = Evaluator(metrics, weights, cache=cache)
    evaluator.update(["a", "b", "c"], *images)
    return evaluator


def test_lpips_of_a_region_is_the_mean_of_the_spatial_map_of_the_package(images, squeeze):
    completed, target, mask = images
    network, weights = squeeze
    scores = evaluated(images, weights).scores
    expected = network(completed, target, normalize=True).flatten().tolist()
    within("LPIPS (SqueezeNet)", scores["lpips_squeeze"], expected)
    network.spatial = True
    maps = network(completed, target, normalize=True).detach().double()
    network.spatial = False
    for name, region in (("lpips_squeeze_hole", mask), ("lpips_squeeze_background", 1 - mask)):
        means = (maps * region).flatten(1).sum(1) / region.flatten(1).sum(1)
        within("LPIPS by region", scores[name], means)
    assert np.isnan(scores["lpips_squeeze_hole"][2])


def test_the_regions_of_lpips_take_one_pass_of_the_network_and_one_place_in_the_cache(images, squeeze, tmp_path):
    assert families([*REGIONS, "psnr"]) == {"lpips_squeeze by region": REGIONS, "psnr": ["psnr"]}
    first = evaluated(images, squeeze[1], cache=str(tmp_path / "features.db"))
    assert (first.store.computed, list(first.scorers)) == (3, ["lpips_squeeze by region"])
    seen = []
    again = Evaluator(REGIONS[1:], squeeze[1], cache=str(tmp_path / "features.db"))
    again.scorers["lpips_squeeze by region"].network.register_forward_hook(lambda *_: seen.append(1))
    again.update(["a", "b", "c"], *images)
    assert again.store.computed == len(seen) == 0
    np.testing.assert_equal(again.scores["lpips_squeeze_background"], first.scores["lpips_squeeze_background"])
    odd = [x + 0.001 for x in images[:2]]  # not 8 bits: not cached
    again.update(["d", "e", "f"], *odd, images[2])
    assert len(seen) == 1


def test_a_change_in_the_hole_moves_the_metrics_of_the_hole_and_not_of_the_background(squeeze):
    texture, mask = picture(64)[0], np.zeros((64, 64), bool)
    mask[:12, :12] = True  # far from most of the background
    changed = np.where(mask[..., None], 1 - texture, texture)
    tensors = [torch.from_numpy(x).permute(2, 0, 1)[None].float() for x in (changed, texture, mask[..., None])]
    for hole, background in (("ssim_hole", "ssim_background"), ("psnr_hole", "psnr_background")):
        values = [METRICS[name]().score(*tensors).item() for name in (hole, background)]
        assert values[0] < values[1]
    evaluator = Evaluator(REGIONS, squeeze[1])
    evaluator.update(["a"], *tensors)
    whole, hole, background = (evaluator.scores[name][0] for name in REGIONS)
    assert hole > whole > background

"""Samplers of masks: what may be drawn, and how often."""

import json

import cv2
import numpy as np
import pytest
from scipy import stats

from lama.masks import Boxes, Mixture, Strokes

SAMPLERS = {
    "strokes": Strokes(min_times=1),
    "boxes": Boxes(margin=2, min_size=5, max_size=20, min_times=1),
    "mixture": Mixture(
        {"strokes": Strokes(min_times=1), "boxes": Boxes(2, 5, 20, min_times=1)}, {"strokes": 1, "boxes": 1}
    ),
}


def draw(sampler, count, height=64, width=64, seed=0):
    rng = np.random.default_rng(seed)
    return [sampler(rng, height, width) for _ in range(count)]


def components(mask):
    return cv2.connectedComponents(mask.astype(np.uint8))[0] - 1


@pytest.fixture(params=SAMPLERS.values(), ids=SAMPLERS)
def sampler(request):
    return request.param


def test_a_mask_is_boolean_and_has_the_size_asked_for(sampler):
    for mask in draw(sampler, 5, height=40, width=72):
        assert mask.dtype == np.bool_
        assert mask.shape == (40, 72)
        assert mask.any()


def test_boolean_masks_hold_only_zero_and_one_bytes(sampler):
    assert set(np.unique(draw(sampler, 5)[0].view(np.uint8))) <= {0, 1}


def test_the_same_rng_gives_the_same_masks(sampler):
    np.testing.assert_array_equal(draw(sampler, 5, seed=3), draw(sampler, 5, seed=3))


def test_another_rng_gives_other_masks(sampler):
    assert not np.array_equal(draw(sampler, 5, seed=3), draw(sampler, 5, seed=4))


def test_successive_masks_differ(sampler):
    first, second = draw(sampler, 2)
    assert not np.array_equal(first, second)


def test_the_rng_is_left_in_the_same_state(sampler):
    rngs = [np.random.default_rng(5) for _ in range(2)]
    for rng in rngs:
        sampler(rng, 64, 64)
    assert rngs[0].bit_generator.state == rngs[1].bit_generator.state


def test_the_global_random_state_plays_no_part(sampler):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    draw(sampler, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("margin", [0, 3, 10])
def test_boxes_stay_inside_the_margin_and_reach_it(margin):
    union = np.any(draw(Boxes(margin, 3, 12, 1, 3), 2000, height=40, width=60), axis=0)
    inside = np.zeros_like(union)
    inside[margin : 40 - margin, margin : 60 - margin] = True
    np.testing.assert_array_equal(union, inside)


def test_a_box_has_every_size_from_min_to_max_in_both_directions():
    masks = draw(Boxes(margin=0, min_size=5, max_size=9, min_times=1, max_times=1), 500)
    assert {int(mask.any(axis=0).sum()) for mask in masks} == set(range(5, 10))
    assert {int(mask.any(axis=1).sum()) for mask in masks} == set(range(5, 10))
    assert all(mask.sum() == mask.any(axis=0).sum() * mask.any(axis=1).sum() for mask in masks)


def test_the_sides_of_a_box_are_independent():
    masks = draw(Boxes(margin=0, min_size=5, max_size=30, min_times=1, max_times=1), 500)
    sides = [(mask.any(axis=0).sum(), mask.any(axis=1).sum()) for mask in masks]
    assert abs(np.corrcoef(np.transpose(sides))[0, 1]) < 0.2


def test_boxes_are_cut_to_what_fits():
    masks = draw(Boxes(margin=4, min_size=5, max_size=1000, min_times=1, max_times=1), 200, height=32, width=48)
    assert max(mask.any(axis=0).sum() for mask in masks) <= 24


def test_the_number_of_boxes_is_in_its_range():
    counts = [components(mask) for mask in draw(Boxes(0, 1, 1, min_times=1, max_times=3), 300, height=200, width=200)]
    assert set(counts) == {1, 2, 3}


@pytest.mark.parametrize("sampler", [Boxes(max_times=0), Strokes(max_times=0, one_more=False)])
def test_no_times_is_an_empty_mask(sampler):
    assert not np.any(draw(sampler, 3))


def test_one_stroke_is_connected():
    sampler = Strokes(min_times=1, max_times=1, one_more=False)
    assert {components(mask) for mask in draw(sampler, 100)} == {1}


def test_one_more_adds_a_stroke_to_the_official_count():
    sampler = Strokes(max_len=5, max_width=2, min_times=1, max_times=1, one_more=True)
    assert {components(mask) for mask in draw(sampler, 100, height=300, width=300)} == {1, 2}


def test_strokes_reach_the_whole_of_a_frame_that_is_not_square():
    sampler = Strokes(max_width=5, max_len=10, min_times=3, max_times=5)
    assert np.all(np.any(draw(sampler, 300, height=24, width=96), axis=0))


@pytest.mark.parametrize(("max_width", "widest"), [(1, 5), (30, 34)])
def test_the_brush_is_five_pixels_wide_and_up(max_width, widest):
    sampler = Strokes(max_angle=1, max_len=30, max_width=max_width, min_times=1, max_times=1, one_more=False)
    masks = [np.pad(mask, 1).view(np.uint8) for mask in draw(sampler, 200, 200, 200)]
    half_widths = [cv2.distanceTransform(mask, cv2.DIST_L2, 5).max() for mask in masks]
    assert min(half_widths) <= 4
    assert max(half_widths) == pytest.approx(widest / 2, abs=2)


def test_the_area_of_strokes_is_within_geometry():
    sampler = Strokes(max_len=20, max_width=10, min_times=1, max_times=1, one_more=False)
    areas = [mask.sum() for mask in draw(sampler, 200, height=300, width=300)]
    assert max(areas) <= 5 * (29 + 16) * 16  # five segments of the longest and widest kind
    assert np.mean(areas) > 5 * 15  # one segment of the shortest and narrowest


@pytest.mark.parametrize("larger", [{"max_len": 60}, {"max_width": 30}, {"max_times": 8}])
def test_longer_wider_or_more_strokes_cover_more(larger):
    small = {"max_len": 10, "max_width": 5, "min_times": 1, "max_times": 2}
    area = np.mean(draw(Strokes(**small), 100, 128, 128))
    assert np.mean(draw(Strokes(**small | larger), 100, 128, 128)) > 1.2 * area


def full(rng, height, width):
    return np.ones((height, width), bool)


def empty(rng, height, width):
    return np.zeros((height, width), bool)


@pytest.mark.parametrize("weight", [0.3, 1, 9])
def test_a_mixture_follows_its_weights(weight):
    mixture = Mixture({"full": full, "empty": empty}, {"empty": 1, "full": weight})  # in another order on purpose
    drawn = sum(bool(mask.all()) for mask in draw(mixture, 3000, 1, 1))
    assert stats.binomtest(drawn, 3000, weight / (1 + weight)).pvalue > 0.001


def test_weight_zero_is_never_drawn():
    mixture = Mixture({"full": full, "empty": empty}, {"full": 0, "empty": 2})
    assert not np.any(draw(mixture, 200, 1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_times": 3, "max_times": 2}, "min_times <= max_times"),
        ({"min_times": -1}, "min_times"),
        ({"max_width": 0}, "max_width"),
        ({"max_len": 0}, "max_len"),
        ({"max_angle": 0}, "max_angle"),
    ],
)
def test_strokes_refuse_empty_ranges(arguments, message):
    with pytest.raises(ValueError, match=message):
        Strokes(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_times": 3, "max_times": 2}, "min_times <= max_times"),
        ({"min_size": 0}, "min_size"),
        ({"min_size": 101}, "min_size <= max_size"),
        ({"margin": -1}, "margin"),
    ],
)
def test_boxes_refuse_empty_ranges(arguments, message):
    with pytest.raises(ValueError, match=message):
        Boxes(**arguments)


def test_boxes_say_when_none_fits():
    with pytest.raises(ValueError, match="48 x 200 pixels; lower min_size or margin"):
        draw(Boxes(margin=10, min_size=30), 1, height=48, width=200)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"full": 1}, "expected a weight for each of"),
        ({"full": 1, "empty": 1, "boxs": 1}, "boxs"),
        ({"full": -1, "empty": 2}, "weights >= 0"),
        ({"full": 0, "empty": 0}, "positive sum"),
    ],
)
def test_a_mixture_refuses_weights_that_make_no_sense(weights, message):
    with pytest.raises(ValueError, match=message):
        Mixture({"full": full, "empty": empty}, weights)


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="positive sum"):
        Mixture({}, {})


SETTINGS = ["thin_256", "thin_512", "medium_256", "medium_512", "thick_256", "thick_512", "train_256"]


@pytest.mark.parametrize("name", SETTINGS)
def test_masks_are_distributed_as_the_official_ones(shared, name):
    setting = json.loads((shared / "parity" / "mask_settings.json").read_text())[name]
    boxes = {key.removeprefix("bbox_"): value for key, value in setting.get("box_kwargs", {}).items()}
    sampler = Mixture(
        {"strokes": Strokes(**setting["irregular_kwargs"]), "boxes": Boxes(**boxes)},
        {"strokes": setting["irregular_proba"], "boxes": setting["box_proba"]},
    )
    size = int(name.rpartition("_")[2])
    masks = draw(sampler, 300, size, size)
    ours = {
        "area": [mask.mean() for mask in masks],
        "width": [cv2.distanceTransform(m.view(np.uint8), cv2.DIST_L2, 5)[m].mean() for m in masks],
        "components": [components(mask) for mask in masks],
    }
    with np.load(shared / "parity" / "masks.npz") as official:
        for statistic, values in ours.items():
            assert stats.ks_2samp(values, official[f"{name}/{statistic}"]).pvalue > 0.01, statistic

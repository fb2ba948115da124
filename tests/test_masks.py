"""Samplers of masks: their range and their distribution."""

import json

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy import stats

from lama.config import CONFIGS, build
from lama.interfaces import PairedMaskSampler, ScalableMaskSampler, ScheduledMaskSampler
from lama.masks import (
    AreaLimits,
    Boxes,
    Grid,
    Growing,
    Inverted,
    MaskFolder,
    Mixture,
    Objects,
    Outpainting,
    PairedMasks,
    Strokes,
)
from lama.pictures.masks import read_mask

SAMPLERS = {
    "strokes": Strokes(min_times=1),
    "circles": Strokes(min_times=1, brush="circle"),
    "squares": Strokes(min_times=1, brush="square"),
    "borders": Outpainting(),
    "grid": Grid(2, 9, 1, 3),
    "inverted": Inverted(Boxes(2, 5, 20, min_times=1), 0.5),
    "limited": AreaLimits(Boxes(2, 5, 20, min_times=1), 0.05, 0.3),
    "growing": Growing(Boxes(2, 5, 20, min_times=1), 100),
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
    with pytest.raises(ValueError, match="200 x 48 pixels; lower min_size or margin"):
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


# Borders


def test_a_border_is_hidden_on_some_sides_within_its_shares():
    hidden = np.zeros(4)
    for mask in draw(Outpainting(0.1, 0.3), 400, height=40, width=100):
        known = ~mask
        rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
        assert known.sum() == len(rows) * len(columns)  # the remaining pixels are one rectangle
        widths = np.array([columns[0] / 100, rows[0] / 40, 1 - (columns[-1] + 1) / 100, 1 - (rows[-1] + 1) / 40])
        assert (widths > 0).any()
        assert ((widths == 0) | ((widths > 0.085) & (widths < 0.32))).all()
        hidden += widths > 0
    expected = 0.5 + 0.5**4 / 4  # where no side was drawn, one is chosen
    assert all(stats.binomtest(int(count), 400, expected).pvalue > 0.001 for count in hidden)


def test_only_the_sides_asked_for_are_hidden():
    for mask in draw(Outpainting(sides=(0, 0.3, 0, 0)), 50):
        assert mask[0].all()
        assert not mask[-1].any()


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 2), (5, 5)])
def test_borders_of_tiny_images_have_at_least_one_pixel(size):
    assert all(mask.any() for mask in draw(Outpainting(), 50, *size))


@pytest.mark.parametrize(
    "options",
    [{"min_share": 0}, {"min_share": 0.3, "max_share": 0.2}, {"max_share": 0.5}, {"sides": (0, 0, 0, 0)},
     {"sides": (1, 1, 1)}, {"sides": (1, 1, 1, 1.5)}, {"sides": (1, 1, 1, -1)}],
)  # fmt: skip
def test_outpainting_refuses_borders_that_make_no_sense(options):
    with pytest.raises(ValueError, match=list(options)[-1]):
        Outpainting(**options)


# Grids


def period(line):
    """(step, thickness) of a line of a grid."""
    starts = np.flatnonzero(np.diff(line.astype(int)) == 1) + 1
    ends = np.flatnonzero(np.diff(line.astype(int)) == -1) + 1
    return int(np.diff(starts)[0]), int(ends[ends > starts[0]][0] - starts[0])


def test_a_grid_hides_rows_and_columns_at_regular_steps():
    drawn = set()
    for mask in draw(Grid(3, 6, 1, 3), 300, height=50, width=70):
        rows, columns = mask.all(axis=1), mask.all(axis=0)
        np.testing.assert_array_equal(mask, rows[:, None] | columns[None, :])
        for line in (rows, columns):
            step, thickness = period(line)
            drawn.add((step, thickness))
            np.testing.assert_array_equal(line[:-step], line[step:])
    assert drawn == {(s, t) for s in range(3, 7) for t in range(1, 4) if t < s}


def test_the_grid_of_rows_is_independent_of_that_of_columns_and_shifted_at_random():
    masks = draw(Grid(4, 4, 1, 1), 200)
    offsets = {(int(m.all(axis=1).argmax()), int(m.all(axis=0).argmax())) for m in masks}
    assert len(offsets) == 16


@pytest.mark.parametrize("options", [{"min_width": 0}, {"min_width": 4}, {"min_step": 1}, {"min_step": 5},
                                     {"min_step": 3, "min_width": 3}])  # fmt: skip
def test_a_grid_refuses_ranges_that_are_empty(options):
    with pytest.raises(ValueError, match="min_width < min_step <= max_step"):
        Grid(**options)


# Inversion and areas


def quarter(rng, height, width):
    mask = np.zeros((height, width), bool)
    mask[: height // 2, : width // 2] = True
    return mask


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0), (1.0, 1), (0.3, 0.3)])
def test_masks_are_inverted_with_the_probability(probability, share):
    areas = np.mean(draw(Inverted(quarter, probability), 1000, 4, 4), axis=(1, 2))
    assert set(areas) <= {0.25, 0.75}
    assert stats.binomtest(int((areas == 0.75).sum()), 1000, share).pvalue > 0.001


def test_an_inverted_mask_is_the_opposite_of_the_one_it_is_made_of():
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    mask = Inverted(Boxes(2, 5, 20, 1, 3))(rng, 64, 64)
    other.random()
    np.testing.assert_array_equal(mask, ~Boxes(2, 5, 20, 1, 3)(other, 64, 64))


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_a_probability_that_is_none_is_refused(probability):
    with pytest.raises(ValueError, match=r"masks\.probability"):
        Inverted(quarter, probability)


def test_areas_stay_within_their_limits_and_fill_them():
    areas = [mask.mean() for mask in draw(AreaLimits(Boxes(0, 5, 60, 1, 3), 0.1, 0.4), 200)]
    assert 0.1 <= min(areas) < 0.15
    assert 0.35 < max(areas) <= 0.4


def test_the_limits_themselves_are_allowed():
    assert draw(AreaLimits(quarter, 0.25, 0.25, tries=1), 1)[0].mean() == 0.25


def test_limits_that_no_mask_meets_are_one_line():
    with pytest.raises(ValueError, match=r"none of 7 covers between 30% and 50% of 48 x 64 pixels; widen") as caught:
        draw(AreaLimits(quarter, 0.3, 0.5, tries=7), 1, height=64, width=48)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"min_area": 0.6}, {"min_area": -0.1}, {"max_area": 1.1}, {"tries": 0}])
def test_limits_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AreaLimits(quarter, **options)


# Brushes


@pytest.mark.parametrize(("brush", "least", "most"), [("circle", 2.9, 3.3), ("square", 0.9, 1.0)])
def test_a_brush_stamps_where_a_segment_starts(brush, least, most):
    """One width of 5 + U{0} pixels: a circle of that radius, a square of that side (cut to whole halves)."""
    sampler = Strokes(max_len=1, max_width=16, min_times=1, max_times=1, one_more=False, brush=brush)
    masks = [mask for mask in draw(sampler, 400, 120, 120) if components(mask) == 1]
    largest = max(cv2.distanceTransform(np.pad(mask, 1).view(np.uint8), cv2.DIST_C, 3).max() for mask in masks)
    assert largest == pytest.approx(20 if brush == "circle" else 10, abs=5)
    areas = sorted(mask.sum() for mask in masks)
    assert areas[0] >= least * 4**2 * (1 if brush == "square" else 0.7)
    assert areas[-1] <= most * 5 * 20**2


def test_a_single_stamp_has_the_shape_of_its_brush():
    class Fixed:
        """A generator of one stroke of one segment, at (20, 30), with a brush of 5 + 6 pixels."""

        def __init__(self):
            self.values = iter([1, np.array([[20, 30]]), np.array([1]), np.array([[0, 0, 6]])])

        def integers(self, *_, **__):
            return next(self.values)

    y, x = np.mgrid[:64, :64]
    circle = Strokes(brush="circle")(Fixed(), 64, 64)
    assert (circle == ((x - 20) ** 2 + (y - 30) ** 2 <= 11**2)).mean() > 0.99
    square = Strokes(brush="square")(Fixed(), 64, 64)
    expected = np.zeros((64, 64), bool)
    expected[25:35, 15:25] = True
    np.testing.assert_array_equal(square, expected)


@pytest.mark.parametrize("brush", ["circle", "square"])
def test_stamps_are_drawn_up_to_every_border(brush):
    sampler = Strokes(max_len=10, max_width=10, min_times=3, max_times=5, brush=brush)
    assert np.all(np.any(draw(sampler, 400, height=24, width=40), axis=0))


def test_an_unknown_brush_is_refused():
    with pytest.raises(ValueError, match=r"masks\.strokes\.brush: expected line, circle or square, got 'lines'"):
        Strokes(brush="lines")


# Growth


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.77, 1])
def test_strokes_grow_as_the_official_ramp(share):
    scaled = Strokes(4, max_len=200, max_width=100, min_times=1, max_times=5).scaled(share)
    assert scaled.max_len == int(max(1, 200 * share))
    assert scaled.max_width == int(max(1, 100 * share))
    assert scaled.max_times + scaled.one_more == int(1 + 1 + (5 - 1) * share)  # official: the most, inclusive
    assert (scaled.min_times, scaled.max_angle, scaled.brush) == (1, 4, "line")


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.77, 1])
def test_boxes_grow_as_the_official_ramp(share):
    scaled = Boxes(10, min_size=30, max_size=150, min_times=1, max_times=4).scaled(share)
    assert scaled.max_size + 1 == int(30 + 1 + (150 - 30) * share)  # official: the most, exclusive
    assert scaled.max_times == int(1 + (4 - 1) * share)
    assert (scaled.min_size, scaled.min_times, scaled.margin) == (30, 1, 10)


def test_brush_and_one_more_do_not_grow():
    scaled = Strokes(one_more=False, brush="square", max_angle=7).scaled(0.5)
    assert (scaled.one_more, scaled.brush, scaled.max_angle) == (False, "square", 7)


def test_growth_starts_small_and_ends_with_the_whole_at_its_sample():
    whole = Boxes(0, 4, 60, 1, 3)
    growing = Growing(whole, samples=1000, start=0.2)
    sizes = [growing.at(position).max_size for position in (0, 250, 500, 999)]
    assert sizes == [int(4 + 56 * (0.2 + 0.8 * progress)) for progress in (0, 0.25, 0.5, 0.999)]
    assert growing.at(1000) is growing.at(10**9) is whole
    np.testing.assert_array_equal(draw(growing, 5), draw(whole, 5))


def test_a_mixture_grows_in_all_its_parts_and_keeps_its_weights():
    kinds = {"boxes": Boxes(0, 4, 60, 1, 3), "strokes": Strokes(min_times=1)}
    growing = Growing(Mixture(kinds, {"strokes": 3, "boxes": 1}), samples=100)
    areas = [np.mean(draw(growing.at(position), 200)) for position in (0, 50, 100)]
    assert areas[0] < areas[1] < areas[2]
    boxes = {kind: isinstance(kind, Boxes) for kind in growing.at(10).samplers}
    assert growing.at(10).edges == pytest.approx(growing.sampler.edges)
    assert list(boxes.values()) == [isinstance(kind, Boxes) for kind in growing.sampler.samplers]


@pytest.mark.parametrize("make", [Grid, Outpainting, lambda: Mixture({"a": Grid(), "b": Boxes()}, {"a": 1, "b": 1})])
def test_a_sampler_without_sizes_cannot_grow(make):
    with pytest.raises(ValueError, match=r"(Grid|Outpainting) cannot grow; strokes, boxes and their mixture can"):
        Growing(make(), 100)


@pytest.mark.parametrize("options", [{"samples": 0}, {"start": -0.1}, {"start": 1.1}])
def test_a_growth_that_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Growing(Boxes(), **{"samples": 10} | options)


AROUND = {
    "limits": lambda growing: AreaLimits(growing, 0, 1),
    "inverted": lambda growing: Inverted(growing, 0),
    "mixture": lambda growing: Mixture({"a": growing}, {"a": 1}),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_growing_masks_inside_others_grow_or_are_refused(around):
    try:
        sampler = around(Growing(Boxes(0, 4, 60, 1, 3), samples=100))
    except ValueError:
        return
    assert isinstance(sampler, ScheduledMaskSampler)
    assert np.mean(draw(sampler.at(0), 100)) < 0.5 * np.mean(draw(sampler.at(100), 100))


class Foreign:
    """A sampler from elsewhere: a box of ``side`` pixels."""

    def __init__(self, side=8):
        self.side = side

    def __call__(self, rng, height, width):
        mask = np.zeros((height, width), np.bool_)
        mask[: self.side, : self.side] = True
        return mask


class ForeignScalable(Foreign):
    def scaled(self, share):
        return ForeignScalable(round(self.side * share))


def test_optional_protocols_of_masks():
    assert isinstance(Growing(Boxes(), samples=10), ScheduledMaskSampler)
    assert not isinstance(Boxes(), ScheduledMaskSampler | PairedMaskSampler)
    assert not isinstance(Foreign(), ScalableMaskSampler | ScheduledMaskSampler | PairedMaskSampler)
    assert issubclass(PairedMasks, PairedMaskSampler)
    growing = Growing(ForeignScalable(), samples=10, start=0.5)
    assert growing.at(0)(None, 16, 16).sum() == 16
    assert growing.at(10)(None, 16, 16).sum() == 64
    with pytest.raises(ValueError, match="Foreign"):
        Growing(Foreign(), samples=10)


# Masks from files


def shape(height=48, width=64):
    mask = np.zeros((height, width), np.uint8)
    mask[4:20, 6:30] = 255
    mask[20:24, 6:10] = 255
    return mask


def written(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def test_masks_of_a_folder_are_drawn_alike(tmp_path):
    for i in range(4):
        image = np.zeros((20, 20), np.uint8)
        image[i] = 1  # not white, and a hole nevertheless
        written(tmp_path / "sub" / f"{i}.png", image)
    masks = draw(MaskFolder(str(tmp_path), flip=False), 400, 20, 20)
    counts = np.bincount([int(mask.any(axis=1).argmax()) for mask in masks])
    assert stats.chisquare(counts).pvalue > 0.001


def test_masks_of_a_folder_are_resized_and_mirrored_both_ways(tmp_path):
    written(tmp_path / "a.png", shape())
    masks = draw(MaskFolder(str(tmp_path)), 100, height=24, width=32)
    half = shape()[::2, ::2] > 0
    kinds = {m.tobytes() for m in masks}
    assert kinds == {np.ascontiguousarray(half[::v, ::h]).tobytes() for v in (1, -1) for h in (1, -1)}
    assert all(mask.dtype == np.bool_ and set(np.unique(mask.view(np.uint8))) == {0, 1} for mask in masks)


FILES = {
    "grey": lambda m: m,
    "one": lambda m: m // 255,
    "colour": lambda m: np.dstack([0 * m, 0 * m, m]),
    "16 bit": lambda m: m.astype(np.uint16) * 256,
    "faint 16 bit": lambda m: m.astype(np.uint16) // 255,
    "alpha": lambda m: np.dstack([m, m, m, 255 + 0 * m]),
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_every_pixel_of_a_file_that_is_not_black_is_a_hole_as_in_evaluation(tmp_path, make):
    written(tmp_path / "a.png", make(shape()))
    (mask,) = draw(MaskFolder(str(tmp_path), flip=False), 1, 48, 64)
    np.testing.assert_array_equal(mask, shape() > 0)
    np.testing.assert_array_equal(mask, read_mask(tmp_path / "a.png"))


@pytest.mark.parametrize("kind", [MaskFolder, PairedMasks, Objects])
def test_folders_of_masks_that_are_missing_or_empty_are_named(tmp_path, kind):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        kind(str(tmp_path / "nowhere"))
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "._a.png").write_text("")
    with pytest.raises(ValueError, match=r"masks\.path=.*expected images") as caught:
        kind(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_folders_and_hidden_files_are_no_masks(tmp_path):
    written(tmp_path / "a.png", shape())
    (tmp_path / "folder.png").mkdir()
    written(tmp_path / ".thumbnails" / "b.png", 0 * shape())
    assert np.all([mask.any() for mask in draw(MaskFolder(str(tmp_path)), 40)])


def test_a_mask_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no mask")
    for sampler in (MaskFolder(str(tmp_path)), Objects(str(tmp_path))):
        with pytest.raises(ValueError, match=r"a\.png: not a readable"):
            draw(sampler, 1)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.png", "a"),
        ("a_mask.png", "a"),
        ("a_mask000.png", "a"),
        ("sub/a.PNG", "sub/a"),
        ("a.v2.png", "a.v2"),
        ("a.png", "a.jpg"),
        ("part00000/key.png", "part00000/key"),
    ],
)
def test_a_mask_belongs_to_the_image_of_its_name(tmp_path, file, name):
    written(tmp_path / "other_mask.png", 0 * shape())
    written(tmp_path / file, shape())
    mask = PairedMasks(str(tmp_path)).of(np.random.default_rng(0), name)
    np.testing.assert_array_equal(mask, shape() > 0)


def test_one_of_several_masks_of_an_image_is_drawn(tmp_path):
    for i in range(3):
        written(tmp_path / f"a_mask{i:03d}.png", np.full((2, 2), 255 * (i > 0), np.uint8))
    masks, rng = PairedMasks(str(tmp_path)), np.random.default_rng(0)
    drawn = [bool(masks.of(rng, "a").all()) for _ in range(300)]
    assert stats.binomtest(sum(drawn), 300, 2 / 3).pvalue > 0.001


def test_an_image_without_a_mask_is_named_with_what_was_expected(tmp_path):
    written(tmp_path / "b.png", shape())
    with pytest.raises(ValueError, match=r"no mask for the image sub/a: expected .*sub/a\.png or"):
        PairedMasks(str(tmp_path)).of(np.random.default_rng(0), "sub/a")


def test_paired_masks_cannot_be_drawn_alone(tmp_path):
    written(tmp_path / "b.png", shape())
    with pytest.raises(ValueError, match="masks=from_folder"):
        draw(PairedMasks(str(tmp_path)), 1)


# Objects


def label_map(tmp_path, *, kind="grey"):
    """Two regions of one class and one of another, on a background of zeros."""
    labels = np.zeros((64, 64), np.uint8)
    labels[4:24, 6:40] = 1
    labels[4:14, 30:40] = 0  # the first object is an L
    labels[40:60, 30:60] = 1
    cv2.circle(labels, (14, 48), 11, 2, -1)
    colours = np.uint8([[0, 0, 0], [0, 0, 200], [9, 200, 0]])[labels]
    written(tmp_path / "labels.png", {"grey": labels, "colour": colours, "16": labels.astype(np.uint16) * 300}[kind])
    objects = [labels.copy() for _ in range(3)]
    for one, keep in zip(objects, ((slice(0, 30), 1), (slice(30, 64), 1), (slice(0, 64), 2)), strict=True):
        inside = np.zeros((64, 64), bool)
        inside[keep[0]] = True
        one[:] = inside & (labels == keep[1])
    return [cut(one.astype(bool)) for one in objects]


def cut(mask):
    """To its bounding box."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@pytest.mark.parametrize("kind", ["grey", "colour", "16"])
def test_objects_have_the_shapes_of_the_label_map_placed_elsewhere(tmp_path, kind):
    shapes = label_map(tmp_path, kind=kind)
    allowed = {(s[:, ::h].shape, np.ascontiguousarray(s[:, ::h]).tobytes()) for s in shapes for h in (1, -1)}
    masks = draw(Objects(str(tmp_path), 0.01, 1, scale_change=0, max_hidden=0), 200)
    found = {(cut(mask).shape, np.ascontiguousarray(cut(mask)).tobytes()) for mask in masks}
    assert found == allowed
    places = {tuple(np.argwhere(mask)[0].tolist()) for mask in masks}
    assert len(places) > 100


def test_without_connected_all_of_a_class_is_one_object(tmp_path):
    label_map(tmp_path)
    masks = draw(Objects(str(tmp_path), 0.01, 1, scale_change=0, max_hidden=0, connected=False), 60)
    assert {components(mask) for mask in masks} == {1, 2}


def test_objects_keep_their_share_of_a_larger_frame_up_to_the_change_of_scale(tmp_path):
    shapes = label_map(tmp_path)
    shares = np.sort([s.sum() / 64**2 for s in shapes])
    areas = [m.mean() for m in draw(Objects(str(tmp_path), 0.01, 1, 0.25, max_hidden=0), 200, 256, 256)]
    assert min(areas) >= 0.74**2 * shares[0]
    assert max(areas) <= 1.26**2 * shares[-1]
    assert max(areas) > 1.3 * shares[-1]


def test_the_area_of_objects_stays_within_its_limits(tmp_path):
    label_map(tmp_path)
    areas = [mask.mean() for mask in draw(Objects(str(tmp_path), 0.08, 0.11), 100)]
    assert min(areas) >= 0.08
    assert max(areas) <= 0.11


@pytest.mark.parametrize("most", [0, 0.2, 0.5])
def test_no_more_of_an_object_leaves_the_frame_than_allowed(tmp_path, most):
    written(tmp_path / "a.png", np.pad(np.full((30, 24), 5, np.uint8), ((10, 24), (20, 20))))
    areas = [m.sum() for m in draw(Objects(str(tmp_path), 0.01, 1, scale_change=0, max_hidden=most), 300)]
    assert min(areas) >= (1 - most) * 30 * 24
    assert max(areas) == 30 * 24
    if most:
        assert min(areas) < (1 - most / 2) * 30 * 24


@pytest.mark.parametrize("frame", [(64, 64), (100, 40), (20, 90), (256, 256)])
def test_objects_are_placed_in_frames_of_any_shape_the_same_for_the_same_rng(tmp_path, frame):
    label_map(tmp_path)
    sampler, again = Objects(str(tmp_path), 0.005, 0.9), Objects(str(tmp_path), 0.005, 0.9)
    draw(again, 3)
    masks = draw(sampler, 10, *frame, seed=3)
    assert all(mask.shape == frame and mask.dtype == np.bool_ and mask.any() for mask in masks)
    np.testing.assert_array_equal(masks, draw(again, 10, *frame, seed=3))


def test_label_maps_without_objects_are_one_line(tmp_path):
    written(tmp_path / "a.png", np.zeros((30, 30), np.uint8))
    with pytest.raises(ValueError, match=r"none of 100 objects of .* covers between 2% and 30% of 64 x 64 pixels"):
        draw(Objects(str(tmp_path)), 1)


def test_an_empty_label_map_is_skipped(tmp_path):
    label_map(tmp_path)
    written(tmp_path / "a.png", np.zeros((30, 30), np.uint8))
    assert all(mask.any() for mask in draw(Objects(str(tmp_path)), 30))


@pytest.mark.parametrize(
    "options",
    [{"min_area": 0}, {"min_area": 0.5}, {"max_area": 1.1}, {"scale_change": 1}, {"scale_change": -0.1},
     {"max_hidden": 1}, {"max_hidden": -0.1}, {"tries": 0}],
)  # fmt: skip
def test_objects_refuse_ranges_that_are_empty(tmp_path, options):
    label_map(tmp_path)
    with pytest.raises(ValueError, match=next(iter(options))):
        Objects(str(tmp_path), **options)


# Configurations


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "training" / "masks").glob("*.yaml")))
def test_every_configuration_draws_masks_of_the_frame(name, tmp_path):
    config = OmegaConf.load(CONFIGS / "training" / "masks" / f"{name}.yaml")
    if name == "paired":
        return  # belongs to images, and is tested with them
    if OmegaConf.is_missing(config, "path"):
        label_map(tmp_path)
        config.path = str(tmp_path)
    config = OmegaConf.create({"recipe": {"one_more_stroke": True}, "masks": config})
    sampler = build(config.masks, "masks")
    size = 512 if name.endswith("512") else 128 if name.endswith("128") else 256
    masks = draw(sampler, 12, size, size)
    assert all(mask.shape == (size, size) and mask.dtype == np.bool_ for mask in masks)
    assert len({mask.tobytes() for mask in masks}) > (2 if name == "from_folder" else 8)  # one file, mirrored
    assert 0.01 < np.mean(masks) < 0.85

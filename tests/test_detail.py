"""Detail for a hole from the photograph around it: known pixels, equal bytes, texture, odd inputs, the options."""

import logging
import time

import numpy as np
import pytest
import torch
from torch import nn

import lama
from lama.checkpoints import load_generator
from lama.data import BuiltinPhotos
from lama.detail import can_compile, synthesize
from lama.detail.contrast import sharpened
from lama.detail.kernel import find_kernel
from lama.detail.level import UNIT, Level
from lama.detail.membrane import DIRECT, _exact, harmonic
from lama.detail.synthesize import Weights
from lama.detail.windows import texture_pieces
from lama.inference import Inpainter
from lama.progress_bar import listening

KINDS = [(np.uint8, (3,)), (np.uint16, (3,)), (np.float32, (3,)), (np.uint8, ()), (np.uint16, (1,))]


def noise(height, width, channels=(3,), dtype=np.uint8, seed=0):
    """Coloured noise of 3 pixels around half of white."""
    import cv2

    rough = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    values = np.clip(0.5 + 0.6 * cv2.GaussianBlur(rough, (0, 0), 1.5, borderType=cv2.BORDER_REFLECT), 0, 1)
    white = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    image = (values * white).astype(dtype)
    return image if channels == (3,) else image[..., 1].reshape(height, width, *channels)


def block(shape, top, bottom, left, right):
    hole = np.zeros(shape, bool)
    hole[top:bottom, left:right] = True
    return hole


def flat_guide(image, hole):
    """The image with the mean of what is known in the hole."""
    guide = image.copy()
    guide[hole] = image[~hole].mean(0) if not hole.all() else 0
    return guide


def check(image, hole, result):
    assert result.shape == image.shape
    assert result.dtype == image.dtype
    assert np.isfinite(result.astype(float)).all()
    np.testing.assert_array_equal(result[~hole], image[~hole])


@pytest.mark.parametrize(("dtype", "channels"), KINDS, ids=str)
def test_known_pixels_are_kept_and_texture_appears(dtype, channels):
    image = noise(96, 120, channels, dtype)
    hole = block((96, 120), 30, 60, 40, 80)
    guide = flat_guide(image, hole)
    before = image.copy(), guide.copy()
    result = synthesize(image, hole, guide)
    check(image, hole, result)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(guide, before[1])
    inner = block((96, 120), 34, 56, 44, 76)
    texture, truth = result[inner].astype(float).std(), image[~hole].astype(float).std()
    assert guide[inner].astype(float).std(0).max() == 0
    taken = 1 - Weights().own / 0.5  # share of the photograph's detail; the rest is the guide's, which is flat here
    assert 0.75 * taken < texture / truth < 1.3


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    image, hole = noise(80, 80), block((80, 80), 25, 55, 25, 55)
    first, again, other = (synthesize(image, hole, flat_guide(image, hole), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(("dtype", "channels"), KINDS, ids=str)
def test_threads_and_compiler_change_no_byte(dtype, channels):
    if not can_compile():
        pytest.skip("no C++ compiler")
    image = noise(72, 90, channels, dtype)
    hole = block((72, 90), 20, 52, 20, 60) | block((72, 90), 0, 3, 70, 74)
    guide = flat_guide(image, hole)
    one = synthesize(image, hole, guide, threads=1)
    np.testing.assert_array_equal(synthesize(image, hole, guide, threads=2), one)
    np.testing.assert_array_equal(synthesize(image, hole, guide, compiled=False), one)


def level_of(shape, hole, centres, low=None):
    """A level of radius 2 without detail, cost of distance or reuse."""
    return Level(
        radius=2, detail=np.zeros((*shape, 4), np.int16), hole=hole, source=(~hole).astype(np.uint8),
        low=np.zeros((*shape, 4), np.int16) if low is None else low, centres=np.array(centres, np.int32),
        boundary=len(centres), locality=np.zeros(len(centres)), trust=np.ones(len(centres)), guide=4, slope=3, reuse=0,
        threads=1, match=np.full(shape, -1, np.int32),
    )  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True])
def test_an_edge_of_the_guide_prefers_an_edge(compiled):
    """Two sources have the centre's colour; the one without its slope costs the squared difference of slopes more."""
    shape, low = (20, 30), np.zeros((20, 30, 4), np.int16)
    low[:, :10, 0] = 50 * (np.arange(10) - 5)  # zero at column 5, a slope of 200 over four pixels
    low[:, 10:20, 0] = 50 * (np.arange(10) - 5)
    hole = block(shape, 4, 16, 10, 20)
    at = 8 * 30
    level = level_of(shape, hole, [at + 15, at + 15], low)
    costs = find_kernel(compiled).costs(level, 0, 2, np.array([at + 5, at + 25], np.int32))
    assert costs.tolist() == [0, 3 * 200**2]


def test_a_mean_of_votes_gets_its_contrast_back():
    shape, hole = (40, 40), block((40, 40), 8, 32, 8, 32)
    level = level_of(shape, hole, [])
    level.detail[..., :3] = UNIT * np.random.default_rng(0).integers(-3, 4, (*shape, 3))
    square = np.square(level.detail[..., :3].astype(np.int32)).sum(2)
    plain = level.detail[2:-2, 2:-2, :3] / np.float32(UNIT)
    inside = hole[2:-2, 2:-2]
    for times, expected in ((0.5, 1), (1, 1), (1.5, 1.5), (3, 2)):
        level.energy[:] = square * times**2
        result = sharpened(level)
        np.testing.assert_array_equal(result[~inside], plain[~inside])
        np.testing.assert_allclose(result[inside], expected * plain[inside], rtol=0.01)


def test_many_threads_change_no_byte_of_a_large_hole():
    image = noise(300, 300)
    hole = block((300, 300), 60, 240, 60, 240)
    guide = flat_guide(image, hole)
    one, three = (synthesize(image, hole, guide, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_the_step_at_the_border_is_levelled():
    """A guide with an offset of colour becomes the smooth image that it was made from."""
    y, x = np.mgrid[:200, :200]
    image = np.stack([60 + y * 0.5, 80 + x * 0.4, 120 + 0 * x], 2).astype(np.uint8)
    hole = block((200, 200), 50, 150, 60, 140)
    guide = image.copy()
    guide[hole] = image[hole] + np.array([20, 12, 8], np.uint8)
    levelled = synthesize(image, hole, guide, texture=False)
    check(image, hole, levelled)
    error = np.abs(levelled.astype(int) - image)[hole]
    assert error.mean() < 1.5
    assert error.max() <= 5


def test_the_pyramid_of_the_membrane_is_near_the_exact_solution():
    hole = np.zeros((170, 200), bool)
    y, x = np.mgrid[:170, :200]
    hole[(y - 85) ** 2 / 75**2 + (x - 100) ** 2 / 90**2 < 1] = True
    assert hole.sum() > DIRECT
    import cv2

    border = hole & (cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    values = np.where(border, np.sin(x / 20) + y / 85 + np.random.default_rng(0).normal(size=hole.shape) / 5, 0)
    values = values.astype(np.float32)[..., None]
    error = np.abs(harmonic(values, border, hole) - _exact(values, border, hole))[hole & ~border]
    size = np.ptp(values[border])
    assert error.mean() < 0.01 * size
    assert error.max() < 0.08 * size


def test_a_listener_cancels_the_search():
    """It is called during every level; what it raises passes through."""
    image, hole, heard = noise(200, 200), block((200, 200), 50, 150, 50, 150), []

    def listener(name, done, of):
        heard.append((name, done, of))
        if done == 3:
            raise KeyboardInterrupt

    with listening(listener), pytest.raises(KeyboardInterrupt):
        synthesize(image, hole, flat_guide(image, hole))
    assert heard[-1] == ("texture", 3, 4)
    assert heard.count(("texture", 2, 4)) > 10


CASES = {
    "all hole": (noise(40, 40), np.ones((40, 40), bool)),
    "no hole": (noise(40, 40), np.zeros((40, 40), bool)),
    "no source": (noise(40, 40), np.indices((40, 40)).sum(0) % 4 == 0),
    "at the border": (noise(60, 60), block((60, 60), 0, 20, 30, 60)),
    "a corner is known": (noise(60, 60), ~block((60, 60), 0, 12, 0, 12)),
    "one pixel": (noise(50, 50), block((50, 50), 20, 21, 20, 21)),
    "one pixel in a corner": (noise(50, 50), block((50, 50), 0, 1, 49, 50)),
    "3 x 3": (noise(3, 3), block((3, 3), 1, 2, 1, 2)),
    "1 x 1": (noise(1, 1), np.ones((1, 1), bool)),
    "1 x 50": (noise(1, 50), block((1, 50), 0, 1, 10, 20)),
    "50 x 17": (noise(50, 17), block((50, 17), 10, 30, 3, 12)),
    "constant": (np.full((64, 64, 3), 77, np.uint8), block((64, 64), 20, 40, 20, 40)),
    "black": (np.zeros((64, 64, 3), np.uint8), block((64, 64), 20, 40, 20, 40)),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_inputs(name):
    image, hole = CASES[name]
    check(image, hole, synthesize(image, hole, flat_guide(image, hole)))


def test_a_constant_image_stays_constant():
    image, hole = CASES["constant"]
    np.testing.assert_array_equal(synthesize(image, hole, image), image)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("all hole", "known"), ("a corner is known", "too little"), ("no source", "patch"), ("1 x 50", "16 pixels")],
)
def test_a_guide_that_is_kept_is_logged(name, reason, caplog):
    image, hole = CASES[name]
    with caplog.at_level(logging.INFO, "lama.detail"):
        synthesize(image, hole, flat_guide(image, hole))
    assert [reason in record.getMessage() for record in caplog.records] == [True]


def test_a_guide_as_sharp_as_its_surroundings_is_kept(caplog):
    """Such as a good network's: texture of its own, which is levelled at the seam and not replaced."""
    image, hole = noise(96, 96), block((96, 96), 30, 60, 30, 60)
    guide = np.where(hole[..., None], noise(96, 96, seed=5), image)
    with caplog.at_level(logging.INFO, "lama.detail"):
        sharp = synthesize(image, hole, guide)
    assert "sharp" in caplog.text
    np.testing.assert_array_equal(sharp, synthesize(image, hole, guide, texture=False))


def test_thousands_of_specks_take_seconds():
    image = noise(700, 900)
    hole = np.random.default_rng(0).random((700, 900)) < 0.005
    started = time.process_time()
    check(image, hole, synthesize(image, hole, flat_guide(image, hole)))
    if can_compile():
        assert time.process_time() - started < 20


def test_windows_are_bounded_and_share_the_hole():
    hole = np.zeros((5000, 6000), bool)
    hole[::97, ::89] = True
    total = np.zeros(hole.shape, int)
    for piece in texture_pieces(hole):
        assert piece.window.area < 14e6
        total[piece.window.slices] += piece.take
    np.testing.assert_array_equal(total, hole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"guide": np.zeros((9, 8, 3), np.uint8)}, r"guide.*8, 8"),
        ({"guide": np.zeros((8, 8, 3), np.uint16)}, r"guide.*uint16"),
        ({"hole": np.zeros((8, 8), np.uint8)}, r"hole.*uint8"),
        ({"image": np.zeros((8, 8, 4), np.uint8)}, r"image.*8, 8, 4"),
        ({"image": np.zeros((8, 8, 3), np.int32)}, r"image.*int32"),
        ({"seed": -1}, r"seed.*-1"),
    ],
)
def test_wrong_arguments(change, words):
    good = {
        "image": np.zeros((8, 8, 3), np.uint8),
        "hole": np.ones((8, 8), bool),
        "guide": np.zeros((8, 8, 3), np.uint8),
    }
    with pytest.raises(ValueError, match=words):
        synthesize(**good | change)


def random_cases(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        height, width = (int(2 ** rng.uniform(0, 6.6)) for _ in range(2))
        dtype, channels = KINDS[rng.integers(len(KINDS))]
        image = noise(height, width, channels, dtype, int(rng.integers(1000)))
        kind = rng.integers(3)
        if kind == 0:
            hole = rng.random((height, width)) < rng.uniform(0, 1) ** 2
        else:
            hole = np.zeros((height, width), bool)
            for _ in range(rng.integers(1, 4)):
                top, left = rng.integers(height), rng.integers(width)
                hole[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = True
        yield image, hole


def check_random(count, seed):
    for image, hole in random_cases(count, seed):
        check(image, hole, synthesize(image, hole, flat_guide(image, hole)))


def test_random_holes_and_sizes():
    check_random(200, seed=0)


@pytest.mark.slow
def test_two_thousand_random_holes_and_sizes():
    check_random(2000, seed=1)


class Seen(nn.Module):
    """Grey everywhere; remembers the sizes it was given."""

    pad_multiple, min_size = 8, 8

    def __init__(self):
        super().__init__()
        self.config, self.sizes = {}, []

    def forward(self, x):
        self.sizes.append(tuple(x.shape[-2:]))
        return torch.full_like(x[:, :3], 0.5)


def inpainter(**options):
    return Inpainter(Seen(), "cpu", fast=False, **options)


def test_small_is_detailed_and_others_are_not(tmp_path):
    assert load_generator("small").own_scale == 256
    photos = BuiltinPhotos("held_out", 256)
    _, image = photos[photos.names.index("coffee")]
    hole = block(image.shape[:2], 100, 160, 100, 180)
    small = lama.load("small", "cpu")
    auto, off, on = (small.variant(detail=detail)(image, hole) for detail in ("auto", "off", "on"))
    np.testing.assert_array_equal(auto, on)
    assert (auto != off).any()
    for result in (auto, off):
        np.testing.assert_array_equal(result[~hole], image[~hole])
    plain = small.variant(detail="auto", strategy="full")(image, hole)
    np.testing.assert_array_equal(plain, off)  # the frame is small: strategy auto is full

    image = noise(100, 100)
    hole = block((100, 100), 40, 60, 40, 60)
    assert set(np.unique(inpainter()(image, hole)[hole])) == {128}
    assert len(np.unique(inpainter(detail="on")(image, hole)[hole])) > 20


def test_the_network_sees_the_scale():
    image, hole = noise(300, 400), block((300, 400), 50, 250, 100, 300)
    for scale, strategy, expected in ((128, "auto", (96, 128)), (64, "full", (64, 88)), (None, "auto", (304, 400))):
        network = inpainter(scale=scale, strategy=strategy, detail="on")
        result = network(image, hole)
        assert network.generator.sizes == [expected]
        np.testing.assert_array_equal(result[~hole], image[~hole])


def test_auto_reduces_what_is_much_larger_than_the_scale(caplog):
    image, hole = noise(700, 1300), block((700, 1300), 100, 600, 150, 1100)
    network = inpainter()
    with caplog.at_level(logging.INFO, "lama.detail.detailed"):
        result = network.variant()(image, hole)
    assert network.generator.sizes == [(280, 512)]
    assert any("network at 512 pixels" in record.getMessage() for record in caplog.records)
    np.testing.assert_array_equal(result[~hole], image[~hole])
    assert len(np.unique(result[hole])) > 20


def test_the_guide_is_the_result_without_detail():
    image, hole = noise(100, 100), block((100, 100), 40, 60, 40, 60)
    for detail in ("on", "off"):
        result, guide = inpainter(detail=detail).with_guide(image, hole)
        np.testing.assert_array_equal(result, inpainter(detail=detail)(image, hole))
        if detail == "on":
            np.testing.assert_array_equal(guide, inpainter(detail="off")(image, hole))
        else:
            assert guide is None


def test_many_images_one_by_one_and_together():
    images = [noise(90, 120), noise(64, 64, ()), noise(120, 90, dtype=np.uint16)]
    holes = [block((90, 120), 20, 50, 30, 90), np.zeros((64, 64), bool), block((120, 90), 60, 90, 0, 30)]
    network = inpainter(detail="on")
    for image, hole, result in zip(images, holes, network.many(images, holes), strict=True):
        check(image, hole, result)
        np.testing.assert_array_equal(result, network(image, hole))


def test_without_a_compiler_large_holes_are_levelled_only(monkeypatch, caplog):
    monkeypatch.setattr("lama.detail.detailed.can_compile", lambda: False)
    image, hole = noise(256, 256), block((256, 256), 40, 220, 40, 220)
    with caplog.at_level(logging.INFO, "lama.detail.detailed"):
        result = inpainter(detail="on")(image, hole)
    assert "compiler" in caplog.text
    check(image, hole, result)


def test_the_benchmark_measures_every_hole(tmp_path):
    from lama.bench import bench_detail
    from lama.pictures.images import write_image

    write_image(tmp_path / "a.png", noise(100, 120))
    lines = bench_detail(str(tmp_path), "--megapixels", "0.1", "--holes", "9", "--threads", "1")
    assert [line.split(":")[0] for line in lines[1:]] == [" 0.1 MP, hole of 9 %, detail=on"]
    with pytest.raises(ValueError, match="--holes"):
        bench_detail(str(tmp_path), "--holes", "90")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"detail": "yes"}, "detail=yes"),
        ({"scale": 10}, "scale=10"),
        ({"scale": 256, "strategy": "tile"}, "scale=256.*tile"),
        ({"detail": "on", "refiner": lama.inference.Refiner()}, "detail=on.*refine"),
    ],
)
def test_options_that_mean_nothing(options, words):
    with pytest.raises(ValueError, match=words):
        inpainter(**options)

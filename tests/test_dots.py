"""The measure of dots: a planted grid rises, texture and smooth fills do not."""

import numpy as np
import pytest
import torch

from lama.data import BuiltinPhotos
from lama.evaluation import Evaluator
from lama.evaluation.dots import Dots2, Dots4, Dots8, peak

DOTS = {2: Dots2, 4: Dots4, 8: Dots8}
PERIODS = sorted(DOTS)


@pytest.fixture(scope="module")
def photograph():
    _, image = BuiltinPhotos("held_out", 256)[1]
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None, :, :256, :256] / 255


@pytest.fixture(scope="module")
def hole():
    """An irregular hole: a disc and a slanted band."""
    y, x = np.mgrid[:256, :256]
    mask = (np.hypot(y - 150, x - 90) < 55) | ((abs(y - x + 40) < 25) & (y > 60))
    return torch.from_numpy(mask)[None, None].float()


def grid(period, amplitude):
    """A dot every ``period`` pixels, with mean 0."""
    dots = torch.zeros(256, 256)
    dots[::period, ::period] = 1
    return amplitude * (dots - dots.mean())


@pytest.mark.parametrize("period", PERIODS)
def test_a_planted_grid_rises_at_its_period(photograph, hole, period):
    spoilt = photograph + hole * grid(period, 0.2)
    assert 0.7 < DOTS[period]().score(photograph, photograph, hole).item() <= 1
    assert DOTS[period]().score(spoilt, photograph, hole).item() > 2


@pytest.mark.parametrize("period", PERIODS)
def test_a_faint_grid_on_a_smooth_fill_rises_and_the_fill_does_not(photograph, hole, period):
    ramp = torch.linspace(0.2, 0.8, 256).expand(1, 3, 256, 256)
    smooth = torch.lerp(photograph, ramp, hole)
    assert DOTS[period]().score(smooth, photograph, hole).item() < 1.2
    assert DOTS[period]().score(smooth + hole * grid(period, 0.05), photograph, hole).item() > 2


@pytest.mark.parametrize("period", PERIODS)
def test_noise_has_no_peaks(hole, period):
    noise = torch.rand(4, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert peak(noise, hole.expand(4, -1, -1, -1), period).mean().item() == pytest.approx(1, abs=0.2)


def test_another_texture_of_the_same_photograph_has_none(photograph, hole):
    moved = torch.lerp(photograph, photograph.roll((37, 51), (2, 3)), hole)
    for period in PERIODS:
        assert 0.5 < DOTS[period]().score(moved, photograph, hole).item() < 1.5


def test_images_of_a_batch_are_independent_and_too_small_a_hole_is_nan(photograph, hole):
    small = torch.zeros_like(hole)
    small[..., 5:9, 5:9] = 1
    spoilt = photograph + grid(8, 0.2)
    both = DOTS[8]().score(spoilt.repeat(2, 1, 1, 1), photograph.repeat(2, 1, 1, 1), torch.cat([hole, small]))
    torch.testing.assert_close(both[:1], DOTS[8]().score(spoilt, photograph, hole))
    assert both[1].isnan()


def test_the_evaluator_leaves_out_holes_that_are_too_small(photograph, hole):
    evaluator = Evaluator([f"dots_{period}" for period in PERIODS])
    spoilt, small = photograph + grid(8, 0.2), torch.zeros_like(hole)
    small[..., 5:9, 5:9] = 1
    evaluator.update(["a", "b"], spoilt.repeat(2, 1, 1, 1), photograph.repeat(2, 1, 1, 1), torch.cat([hole, small]))
    results = evaluator.compute()
    assert results["dots_8"]["n"] == 1
    assert results["dots_8"]["mean"] == pytest.approx(DOTS[8]().score(spoilt, photograph, hole).item())


def test_an_image_smaller_than_a_window():
    image = torch.rand(1, 3, 20, 45)
    assert DOTS[4]().score(image, image, torch.ones(1, 1, 20, 45)).shape == (1,)

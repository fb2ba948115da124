"""How exact published numbers are on this machine: precision, threads, batches, files; and docs/precision.md."""

import re

import cv2
import numpy as np
import pytest
import torch
from budget import BUDGETS, GROUPS, NOTES, within
from formula import fill
from PIL import Image
from precision import DOCS, row
from trainings import a_batch, in_double, make_module, steps

import lama
from lama.conventions import generator_input
from lama.data import BuiltinPhotos
from lama.evaluation import Evaluator
from lama.fast.fuse import fuse
from lama.models import FFCResNetGenerator
from lama.pictures.images import image_to_tensor, mask_to_tensor
from lama.pictures.reading import read_image_file


@pytest.fixture
def threads():
    """A function that sets the number of threads, until the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photo():
    """The middle of a photograph (1, 3, 192, 208) and a wide hole (1, 1, 192, 208)."""
    image = BuiltinPhotos("held_out", 192)[0][1][:192, :208]
    mask = np.zeros(image.shape[:2], bool)
    mask[40:120, 60:150] = True
    return image_to_tensor(image)[None], mask_to_tensor(mask)[None]


@pytest.fixture(scope="module")
def small():
    return lama.load("small", "cpu").generator.eval()


@pytest.fixture(scope="module")
def exact(small, photo):
    """The prediction in double precision."""
    small.double()
    with torch.inference_mode():
        result = small(generator_input(*(x.double() for x in photo)))
    small.float()
    return result


@torch.inference_mode()
def test_float32_is_close_to_double_precision(small, photo, exact):
    x = generator_input(*photo)
    within("prediction, float32, without fusing", small(x), exact)
    for compiled in (True, False):
        within("prediction, float32", fuse(small, compiled=compiled)(x), exact)


@torch.inference_mode()
def test_bf16_is_near_double_precision(small, photo, exact):
    result = fuse(small, "bf16")(generator_input(*photo)).double()
    within("prediction, bf16", result, exact)
    within("prediction, bf16, mean error", (result - exact).abs().mean(), 0)


@torch.inference_mode()
def test_threads_change_a_prediction_by_rounding_only(small, photo, threads):
    x, results = generator_input(*photo), []
    for count in (1, 2):
        threads(count)
        results.append([fuse(small)(x), small(x)])
    for one, two in zip(*results, strict=True):
        within("prediction, 2 threads", two, one)


@torch.inference_mode()
def test_weights_stored_in_half_precision_are_enough(photo):
    generator, x = fill(FFCResNetGenerator(ngf=8, n_blocks=3), gain=1.2).eval(), generator_input(*photo)
    halves = {key: value.half().float() for key, value in generator.state_dict().items() if value.is_floating_point()}
    within("weights in half precision", torch.func.functional_call(generator, halves, (x,)), generator(x))


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp"])
def test_files_without_loss_keep_every_pixel(tmp_path, suffix):
    file, rng = tmp_path / f"image{suffix}", np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(file, lossless=True)
    within("image files of 8 and 16 bits", read_image_file(file).pixels / 255, pixels / 255)
    if suffix != ".webp":  # which has 8 bits only
        pixels = rng.integers(0, 65536, (20, 30, 3), np.uint16)
        cv2.imwrite(str(file), pixels[..., ::-1])
        within("image files of 8 and 16 bits", read_image_file(file).pixels / 65535, pixels / 65535)


def losses(module, batch, precision=torch.float32):
    return {name: value.double() for name, value in steps(module, [batch], precision)[0].items()}


def test_a_step_in_float32_is_close_to_double_precision():
    within("losses of a step, float32", losses(make_module(), a_batch()),
           losses(make_module().double(), in_double(a_batch())))  # fmt: skip


def test_threads_change_a_step_by_rounding_only(threads):
    results = []
    for count in (1, 2):
        threads(count)
        results.append(losses(make_module(), a_batch()))
    within("losses of a step, 2 threads", *reversed(results))


def test_threads_change_no_score(threads, photo):
    target, mask = (x.repeat(2, 1, 1, 1) for x in photo)
    completed = target + mask * (0.1 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0)))
    results = []
    for count in (1, 2):
        threads(count)
        evaluator = Evaluator(["psnr", "psnr_hole", "ssim", "ssim_hole", "l1", "l1_hole", "colour_error", "dots_8"])
        evaluator.update(["a", "b"], completed.clamp(0, 1), target, mask)
        results.append(evaluator.scores)
    within("all metrics, 2 threads", *reversed(results))


@pytest.mark.parametrize("found", [1.1, np.nan, [1.0, 2.0]])
def test_a_number_beyond_its_budget_fails(found, monkeypatch):
    monkeypatch.delenv(NOTES, raising=False)
    with pytest.raises(AssertionError):
        within("PSNR", found, 1.0)


def test_small_references_count_as_the_floor(monkeypatch):
    monkeypatch.delenv(NOTES, raising=False)
    within("losses of a step, bf16", 0.01, 0.02)
    with pytest.raises(AssertionError):
        within("losses of a step, bf16", 1.0, 0.02)


def test_the_page_lists_every_budget_and_none_is_exceeded():
    text = DOCS.read_text(encoding="utf-8")
    listed = [line for line in text.splitlines() if re.match(r"\| [^|]+ \| [0-9<]", line)]
    assert len(listed) == len(BUDGETS)
    for line, (key, budget) in zip(listed, BUDGETS.items(), strict=True):
        assert line.startswith(row(key, budget))
        seen = line.split("|")[3].strip()
        assert seen == "not run" or float(seen) <= budget.most, line
    assert [title for title in GROUPS if f"## {title}" not in text] == []

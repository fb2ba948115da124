"""Filling holes: any size, any kind of picture, known pixels untouched, and light to import."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import lama
from lama.checkpoints import save_generator
from lama.inference import Inpainter


@pytest.fixture
def inpainter(tiny_generator):
    return Inpainter(tiny_generator, device="cpu")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def picture(rng, height=20, width=28, channels=(3,)):
    """Noise with 0 or 255 in the lower half: a network's output, about 128, is never equal to that."""
    image = rng.integers(0, 256, (height, width, *channels), dtype=np.uint8)
    image[height // 2 :] = 255 * (image[height // 2 :] > 127)
    return image


def hole(height=20, width=28):
    """The lower half and a few columns of it left out."""
    mask = np.zeros((height, width), bool)
    mask[height // 2 :, : max(1, width - 3)] = True
    return mask


def sizes():
    drawn = np.random.default_rng(0).integers(1, 41, (38, 2)).tolist()
    extremes = [(1, 1), (1, 40), (40, 1), (2, 3), (7, 7), (8, 8), (9, 9), (16, 16), (17, 15), (1, 200), (200, 5)]
    return sorted({*map(tuple, drawn), *extremes})


@pytest.mark.parametrize(("height", "width"), sizes())
def test_every_size_is_filled_and_its_known_pixels_stay(inpainter, rng, height, width):
    image, mask = picture(rng, height, width), hole(height, width)
    filled = inpainter(image, mask)
    assert filled.shape == image.shape
    assert filled.dtype == np.uint8
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    assert (filled[mask] != image[mask]).all()


class Constant(torch.nn.Module):
    pad_multiple = 8
    min_size = 16

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.full_like(x[:, :3], self.value)


@pytest.mark.parametrize(("value", "byte"), [(0, 0), (0.999, 255), (0.501, 128), (1, 255), (1.3, 255), (-0.2, 0)])
def test_a_prediction_is_rounded_to_the_nearest_byte(rng, value, byte):
    filled = Inpainter(Constant(value), "cpu")(picture(rng), hole())
    assert (filled[hole()] == byte).all()


def test_the_arguments_are_not_changed(inpainter, rng):
    image, mask = picture(rng), hole()
    before = image.copy(), mask.copy()
    inpainter(image, mask)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_what_lies_under_the_hole_does_not_matter(inpainter, rng):
    image, mask = picture(rng), hole()
    other = np.where(mask[..., None], np.uint8(7), image)
    np.testing.assert_array_equal(inpainter(image, mask), inpainter(other, mask))


def test_an_empty_mask_gives_the_picture_back(inpainter, rng):
    image = picture(rng)
    np.testing.assert_array_equal(inpainter(image, np.zeros(image.shape[:2])), image)


def test_a_full_mask_is_filled(inpainter, rng):
    image = 255 * (picture(rng) > 127).astype(np.uint8)
    assert (inpainter(image, np.ones(image.shape[:2])) != image).all()


def test_arrays_in_any_memory_order_are_taken(inpainter, rng):
    image, mask = picture(rng), hole()
    turned = inpainter(np.asfortranarray(image)[:, ::-1][:, ::-1], np.asfortranarray(mask))
    np.testing.assert_array_equal(turned, inpainter(image, mask))


def test_alpha_is_kept_and_colour_is_that_of_the_rgb_picture(inpainter, rng):
    image, mask = picture(rng, channels=(4,)), hole()
    filled = inpainter(image, mask)
    np.testing.assert_array_equal(filled[..., 3], image[..., 3])
    np.testing.assert_array_equal(filled[..., :3], inpainter(image[..., :3], mask))


def test_a_grey_picture_stays_grey_and_its_known_pixels_stay(inpainter, rng):
    image, mask = picture(rng, channels=()), hole()
    filled = inpainter(image, mask)
    assert filled.shape == image.shape
    assert filled.dtype == np.uint8
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    assert (filled[mask] != image[mask]).all()


@pytest.mark.parametrize(("mode", "channels"), [("L", ()), ("RGB", (3,)), ("RGBA", (4,))])
def test_a_pil_picture_is_filled_like_its_array(inpainter, rng, mode, channels):
    image, mask = picture(rng, channels=channels), hole()
    filled = inpainter(Image.fromarray(image), Image.fromarray(mask))
    assert filled.mode == mode
    np.testing.assert_array_equal(np.asarray(filled), inpainter(image, mask))


@pytest.mark.parametrize(("mode", "result"), [("P", "RGB"), ("CMYK", "RGB"), ("1", "RGB"), ("LA", "RGBA")])
def test_other_pil_modes_are_converted(inpainter, rng, mode, result):
    image, mask = Image.fromarray(picture(rng)).convert(mode), hole()
    filled = inpainter(image, mask)
    assert (filled.mode, filled.size) == (result, image.size)
    np.testing.assert_array_equal(np.asarray(filled)[~mask], np.asarray(image.convert(result))[~mask])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_16_bit_or_float_pil_picture_is_refused_not_clipped(inpainter, dtype):
    with pytest.raises(ValueError, match="convert to 8 bit"):
        inpainter(Image.fromarray(np.full((20, 28), 300, dtype)), hole())


MASKS = {
    "bool": lambda m: m,
    "uint8 255": lambda m: m.astype(np.uint8) * 255,
    "uint8 1": lambda m: m.astype(np.uint8),
    "int64": lambda m: m.astype(np.int64) * 3,
    "float 0.001": lambda m: m * 0.001,
    "(H, W, 1)": lambda m: m[..., None],
    "(H, W, 3)": lambda m: np.repeat(m[..., None], 3, axis=2),
    "PIL L 1": lambda m: Image.fromarray(m.astype(np.uint8)),
    "PIL 1": lambda m: Image.fromarray(m),
    "PIL RGB": lambda m: Image.fromarray(np.repeat(m[..., None], 3, axis=2).astype(np.uint8) * 255),
    "PIL RGB, faint blue": lambda m: Image.fromarray(m[..., None] * np.array([0, 0, 1], np.uint8)),
    "PIL 16 bit": lambda m: Image.fromarray(m.astype(np.uint16)),
    "PIL float": lambda m: Image.fromarray(m.astype(np.float32) * 0.5),
}


@pytest.mark.parametrize("convert", MASKS.values(), ids=MASKS)
def test_every_value_above_zero_is_a_hole(inpainter, rng, convert):
    image, mask = picture(rng), hole()
    np.testing.assert_array_equal(inpainter(image, convert(mask)), inpainter(image, mask))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((20, 28, 3), np.float32), "uint8.*float32"),
        (np.zeros((20, 28, 3), np.uint16), "uint8.*uint16"),
        (torch.zeros(3, 20, 28), "uint8.*Tensor"),
        ("picture.png", "uint8.*str"),
        (np.zeros((20, 28, 2), np.uint8), r"got \(20, 28, 2\)"),
        (np.zeros((1, 20, 28, 3), np.uint8), r"got \(1, 20, 28, 3\)"),
    ],
)
def test_another_kind_of_picture_is_refused(inpainter, image, message):
    with pytest.raises(ValueError, match=message):
        inpainter(image, hole())


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
@pytest.mark.parametrize("shape", [(28, 20), (20, 27), (1, 1), (20, 28, 5), (20,)])
def test_a_mask_of_another_size_is_refused(inpainter, rng, channels, shape):
    with pytest.raises(ValueError, match=r"mask: expected shape \(20, 28\)"):
        inpainter(picture(rng, channels=channels), np.ones(shape, np.uint8))


def test_a_pil_mask_of_another_size_is_refused(inpainter, rng):
    with pytest.raises(ValueError, match="mask: expected shape"):
        inpainter(Image.fromarray(picture(rng)), Image.new("L", (20, 28)))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 3, 21, 30, generator=generator), torch.rand(3, 1, 21, 30, generator=generator).round()


def test_a_batch_of_tensors_is_predicted_as_each_one_alone(inpainter, batch):
    image, mask = batch
    predicted = inpainter.predict(image, mask)
    assert predicted.shape == image.shape
    assert 0 <= predicted.min() <= predicted.max() <= 1
    alone = torch.cat([inpainter.predict(image[i : i + 1], mask[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(predicted, alone, atol=1e-5, rtol=0)


def test_prediction_needs_tensors_that_fit(inpainter, batch):
    with pytest.raises(ValueError, match="mask: expected shape"):
        inpainter.predict(batch[0], batch[1][:, :, :-1])


def test_a_size_that_needs_no_padding_is_the_plain_network(inpainter):
    image, mask = torch.rand(1, 3, 32, 24), torch.zeros(1, 1, 32, 24)
    mask[..., 4:9, 4:9] = 1
    with torch.no_grad():
        expected = inpainter.generator(torch.cat([image * (1 - mask), mask], dim=1))
    torch.testing.assert_close(inpainter.predict(image, mask), expected)


def test_the_generator_is_the_plain_module(inpainter):
    with torch.no_grad():
        assert inpainter.generator(torch.rand(2, 4, 32, 24)).shape == (2, 3, 32, 24)


def test_an_inpainter_computes_in_eval_mode(tiny_generator):
    assert not Inpainter(tiny_generator.train(), "cpu").generator.training


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "no such device"])
def test_a_device_that_is_not_there_is_refused_in_one_line(tiny_generator, device):
    with pytest.raises(ValueError, match="expected auto, cpu, cuda or mps") as caught:
        Inpainter(tiny_generator, device)
    assert f"device={device}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def model(tmp_path, tiny_generator):
    save_generator(tmp_path / "run" / "models" / "best.safetensors", tiny_generator)
    return tmp_path / "run"


@pytest.mark.parametrize("place", ["", "models/best.safetensors"])
def test_a_run_folder_or_a_file_is_loaded(model, inpainter, rng, place):
    image, mask = picture(rng), hole()
    loaded = lama.load(str(model / place), device="cpu")
    np.testing.assert_array_equal(loaded(image, mask), inpainter(image, mask))


def test_loading_from_nowhere_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model there"):
        lama.load(tmp_path)


def imported_by(code):
    """The packages that a fresh interpreter has loaded after ``code``."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


HEAVY = {"pytorch_lightning", "lightning", "hydra", "albumentations"}


def test_importing_the_package_is_light():
    assert not imported_by("import lama") & (HEAVY | {"cv2", "torchvision", "torch"})


def test_loading_a_model_and_using_it_is_light(model):
    code = f"import lama, numpy as np\nlama.load({str(model)!r}, 'cpu')(np.zeros((9, 9, 3), np.uint8), np.ones((9, 9)))"
    loaded = imported_by(code)
    assert "torch" in loaded
    assert not loaded & (HEAVY | {"lpips", "torchvision"})

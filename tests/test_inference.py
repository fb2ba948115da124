"""Filling holes: any size, any kind of image, known pixels untouched, and light to import."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from budget import within
from PIL import Image

import lama
from lama.checkpoints import save_generator
from lama.inference import Inpainter
from lama.machine.device import fourier_is_right, pick_device
from lama.models import FFCResNetGenerator


@pytest.fixture
def inpainter(tiny_generator):
    return Inpainter(tiny_generator, device="cpu", compiled=False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def make_image(rng, height=20, width=28, channels=(3,)):
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
    image, mask = make_image(rng, height, width), hole(height, width)
    filled = inpainter(image, mask)
    assert filled.shape == image.shape
    assert filled.dtype == np.uint8
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    assert (filled[mask] != image[mask]).all()


@pytest.mark.parametrize(("height", "width"), [(5, 3), (37, 50)])
def test_a_decoder_that_resizes_fills_any_size(rng, height, width):
    generator = FFCResNetGenerator(ngf=4, n_blocks=1, upsampling="resize")
    image, mask = make_image(rng, height, width), hole(height, width)
    filled = Inpainter(generator, device="cpu")(image, mask)
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


class Failing(Constant):
    def __init__(self, error=None):
        super().__init__(0)
        self.error = error or AssertionError("the network was run")

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize(("value", "byte"), [(0, 0), (0.999, 255), (0.501, 128), (1, 255), (1.3, 255), (-0.2, 0)])
def test_a_prediction_is_rounded_to_the_nearest_byte(rng, value, byte):
    filled = Inpainter(Constant(value), "cpu", fast=False)(make_image(rng), hole())
    assert (filled[hole()] == byte).all()


def test_the_arguments_are_not_changed(inpainter, rng):
    image, mask = make_image(rng), hole()
    before = image.copy(), mask.copy()
    inpainter(image, mask)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_what_lies_under_the_hole_does_not_matter(inpainter, rng):
    image, mask = make_image(rng), hole()
    other = np.where(mask[..., None], np.uint8(7), image)
    np.testing.assert_array_equal(inpainter(image, mask), inpainter(other, mask))


@pytest.mark.parametrize("strategy", ["auto", "full", "crop", "tile"])
def test_an_empty_mask_gives_the_image_back_and_computes_nothing(rng, strategy):
    image = make_image(rng)
    inpainter = Inpainter(Failing(), "cpu", strategy=strategy, feather=4, fast=False)
    np.testing.assert_array_equal(inpainter(image, np.zeros(image.shape[:2])), image)


def test_a_full_mask_is_filled(inpainter, rng):
    image = 255 * (make_image(rng) > 127).astype(np.uint8)
    assert (inpainter(image, np.ones(image.shape[:2])) != image).all()


def test_arrays_in_any_memory_order_are_taken(inpainter, rng):
    image, mask = make_image(rng), hole()
    turned = inpainter(np.asfortranarray(image)[:, ::-1][:, ::-1], np.asfortranarray(mask))
    np.testing.assert_array_equal(turned, inpainter(image, mask))


def test_alpha_is_kept_and_colour_is_that_of_the_rgb_image(inpainter, rng):
    image, mask = make_image(rng, channels=(4,)), hole()
    filled = inpainter(image, mask)
    np.testing.assert_array_equal(filled[..., 3], image[..., 3])
    np.testing.assert_array_equal(filled[..., :3], inpainter(image[..., :3], mask))


def test_a_grey_image_stays_grey_and_its_known_pixels_stay(inpainter, rng):
    image, mask = make_image(rng, channels=()), hole()
    filled = inpainter(image, mask)
    assert filled.shape == image.shape
    assert filled.dtype == np.uint8
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    assert (filled[mask] != image[mask]).all()


@pytest.mark.parametrize(("mode", "channels"), [("L", ()), ("RGB", (3,)), ("RGBA", (4,))])
def test_a_pil_image_is_filled_like_its_array(inpainter, rng, mode, channels):
    image, mask = make_image(rng, channels=channels), hole()
    filled = inpainter(Image.fromarray(image), Image.fromarray(mask))
    assert filled.mode == mode
    np.testing.assert_array_equal(np.asarray(filled), inpainter(image, mask))


@pytest.mark.parametrize(("mode", "result"), [("P", "RGB"), ("CMYK", "RGB"), ("1", "L"), ("LA", "LA")])
def test_other_pil_modes_are_converted(inpainter, rng, mode, result):
    image, mask = Image.fromarray(make_image(rng)).convert(mode), hole()
    filled = inpainter(image, mask)
    assert (filled.mode, filled.size) == (result, image.size)
    np.testing.assert_array_equal(np.asarray(filled)[~mask], np.asarray(image.convert(result))[~mask])


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_a_32_bit_pil_image_is_refused_not_clipped(inpainter, dtype):
    with pytest.raises(ValueError, match=r"image: .* mode [IF] "):
        inpainter(Image.fromarray(np.full((20, 28), 300, dtype)), hole())


def test_a_16_bit_pil_image_stays_one(inpainter, rng):
    image, mask = in_type(make_image(rng, channels=()), np.uint16), hole()
    filled = inpainter(Image.fromarray(image), mask)
    assert filled.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(filled), inpainter(image, mask))


def test_the_info_of_a_pil_image_is_kept(inpainter, rng, tmp_path):
    image = Image.fromarray(make_image(rng))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    image.save(tmp_path / "a.jpg", exif=exif, icc_profile=b"profile", dpi=(72, 72))
    opened = Image.open(tmp_path / "a.jpg")
    filled = inpainter(opened, hole())
    assert filled.size == opened.size  # not turned, so the orientation stays true
    assert filled.info["icc_profile"] == b"profile"
    assert dict(filled.getexif()) == dict(opened.getexif())
    assert "icc_profile" not in inpainter(opened.convert("CMYK"), hole()).info


def test_the_transparency_of_a_palette_is_kept(inpainter, rng):
    image = Image.fromarray(make_image(rng)).convert("P")
    image.info["transparency"] = 0
    filled = inpainter(image, hole())
    assert filled.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(filled)[..., 3], np.asarray(image.convert("RGBA"))[..., 3])


def in_type(image, dtype):
    """uint8 as another type; 16 bit with lower bits that 8 bit do not have."""
    if np.dtype(dtype).kind == "f":
        return (image / 255).astype(dtype)
    return (image.astype(np.uint16) * 257).astype(dtype) if np.dtype(dtype).itemsize == 2 else image


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float16", "float32", "float64"])
def test_every_type_and_shape_comes_back_as_it_was(inpainter, rng, dtype, channels):
    image, mask = in_type(make_image(rng, channels=channels), dtype), hole()
    filled = inpainter(image, mask)
    assert (filled.shape, filled.dtype) == (image.shape, image.dtype)
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    colours = filled[..., :3] if channels == (4,) else filled
    assert (colours[mask] != (image[..., :3] if channels == (4,) else image)[mask]).all()


@pytest.mark.parametrize("dtype", ["uint16", "float16", "float64"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_more_bits_change_nothing_but_the_rounding(inpainter, rng, dtype, channels):
    image, mask = make_image(rng, channels=channels), hole()
    white = 65535 if dtype == "uint16" else 1
    wide = inpainter(in_type(image, dtype), mask).astype(float) / white
    within("image of 16 bits or floats", wide, inpainter(image, mask) / 255)


def test_16_bit_results_use_their_bits(inpainter, rng):
    filled = inpainter(in_type(make_image(rng), np.uint16), hole())[hole()]
    assert len(np.unique(filled % 257)) > 100


def test_many_images_are_filled_as_each_one_alone(inpainter, rng):
    sizes = [(20, 28), (24, 32), (20, 28), (9, 40), (1, 1), (20, 28), (17, 30)]
    images = [
        in_type(make_image(rng, *size), dtype) for size, dtype in zip(sizes, ["uint8", "float32"] * 4, strict=False)
    ]
    images[2] = Image.fromarray(images[2].astype(np.uint8)[..., 0])
    masks = [hole(*size) for size in sizes]
    together = inpainter.many(images, masks, batch_size=3)
    for image, mask, filled in zip(images, masks, together, strict=True):
        alone = inpainter(image, mask)
        assert type(filled) is type(image)
        atol = 1e-4 if np.asarray(image).dtype == np.float32 else 1
        np.testing.assert_allclose(np.asarray(filled, float), np.asarray(alone, float), atol=atol)


def test_images_of_one_padded_size_are_computed_together(rng):
    class Counting(Constant):
        def forward(self, x):
            shapes.append(tuple(x.shape))
            return super().forward(x)

    shapes = []
    sizes = [(20, 28), (60, 60), (24, 32), (17, 30), (23, 25)]
    inpainter = Inpainter(Counting(0.5), "cpu", fast=False)
    inpainter.many([make_image(rng, *size) for size in sizes], [hole(*size) for size in sizes], batch_size=3)
    assert sorted(shapes) == [(1, 4, 24, 32), (1, 4, 64, 64), (3, 4, 24, 32)]


def test_many_says_which_image_is_wrong_before_it_computes(rng):
    inpainter = Inpainter(Failing(), "cpu", fast=False)
    with pytest.raises(ValueError, match=r"^image 1: mask: expected shape \(20, 28\)"):
        inpainter.many([make_image(rng)] * 2, [hole(), hole(3, 3)])
    with pytest.raises(ValueError, match="2 images and 1 masks"):
        inpainter.many([make_image(rng)] * 2, [hole()])
    assert inpainter.many([], []) == []


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
    image, mask = make_image(rng), hole()
    np.testing.assert_array_equal(inpainter(image, convert(mask)), inpainter(image, mask))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((20, 28, 3), np.int64), "uint8.*int64"),
        (np.zeros((20, 28, 3), bool), "uint8.*bool"),
        (np.full((20, 28, 3), 255.0), r"floats in \[0, 1\], got values from 255 to 255"),
        (np.full((20, 28), -0.1, np.float32), r"floats in \[0, 1\], got values from -0.1"),
        (np.full((20, 28, 4), np.nan, np.float32), "holds NaN"),
        (np.zeros((0, 28, 3), np.uint8), "at least one pixel"),
        (torch.zeros(3, 20, 28), "uint8.*Tensor"),
        ("image.png", r"got the path image.png; open it"),
        (np.zeros((20, 28, 2), np.uint8), r"got \(20, 28, 2\)"),
        (np.zeros((1, 20, 28, 3), np.uint8), r"got \(1, 20, 28, 3\)"),
    ],
)
def test_another_kind_of_image_is_refused(inpainter, image, message):
    with pytest.raises(ValueError, match=message):
        inpainter(image, hole())


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
@pytest.mark.parametrize("shape", [(28, 20), (20, 27), (1, 1), (20, 28, 5), (20,)])
def test_a_mask_of_another_size_is_refused(inpainter, rng, channels, shape):
    with pytest.raises(ValueError, match=r"mask: expected shape \(20, 28\)"):
        inpainter(make_image(rng, channels=channels), np.ones(shape, np.uint8))


def test_a_pil_mask_of_another_size_is_refused(inpainter, rng):
    with pytest.raises(ValueError, match="mask: expected shape"):
        inpainter(Image.fromarray(make_image(rng)), Image.new("L", (20, 28)))


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
    within("prediction, in a batch", predicted, alone)


def test_prediction_needs_tensors_that_fit(inpainter, batch):
    with pytest.raises(ValueError, match="mask: expected shape"):
        inpainter.predict(batch[0], batch[1][:, :, :-1])


def test_a_size_that_needs_no_padding_is_the_plain_network(tiny_generator):
    inpainter = Inpainter(tiny_generator, "cpu", fast=False)
    image, mask = torch.rand(1, 3, 32, 24), torch.zeros(1, 1, 32, 24)
    mask[..., 4:9, 4:9] = 1
    with torch.no_grad():
        expected = inpainter.generator(torch.cat([image * (1 - mask), mask], dim=1))
    assert torch.equal(inpainter.predict(image, mask), expected)


def test_the_fast_equivalent_fills_as_the_plain_network(tiny_generator, inpainter, rng):
    image, mask = in_type(make_image(rng), np.float32), hole()
    plain = Inpainter(tiny_generator, "cpu", fast=False)
    np.testing.assert_allclose(inpainter(image, mask), plain(image, mask), atol=5e-5)


def test_the_generator_is_the_plain_module(inpainter):
    with torch.no_grad():
        assert inpainter.generator(torch.rand(2, 4, 32, 24)).shape == (2, 3, 32, 24)


def test_an_inpainter_computes_in_eval_mode(tiny_generator):
    assert not Inpainter(tiny_generator.train(), "cpu").generator.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp16"}, "precision=fp16: expected fp32"),
        ({"precision": "bf16", "fast": False}, "precision=bf16.*fast=true"),
        ({"strategy": "best"}, "strategy=best: expected one of auto, full, crop, tile"),
        ({"feather": -1}, "feather=-1"),
        ({"max_memory": 0}, "max_memory=0"),
        ({"max_memory": float("nan")}, "max_memory=nan"),
        ({"margin": -8}, "margin=-8"),
        ({"tile": 64}, "tile=64: expected at least 128"),
    ],
)
def test_an_invalid_option_is_refused(tiny_generator, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        Inpainter(tiny_generator, "cpu", **options)
    assert "\n" not in str(caught.value)


def test_a_misspelt_option_of_load_names_the_nearest():
    with pytest.raises(TypeError, match=r"^detial: .*detail\?"):
        lama.load("small", detial="on")


@pytest.mark.parametrize("words", ["[enforce fail] DefaultCPUAllocator: can't allocate memory", "CUDA out of memory"])
def test_running_out_of_memory_is_one_line_with_advice(rng, words):
    inpainter = Inpainter(Failing(RuntimeError(f"{words}\nand more")), "cpu", fast=False)
    with pytest.raises(ValueError, match=r"out of memory for 1 x 32 x 24 pixels on cpu; .*strategy=tile$"):
        inpainter(make_image(rng), hole())


def test_another_failure_of_the_network_is_not_hidden(rng):
    with pytest.raises(RuntimeError, match="sizes"):
        Inpainter(Failing(RuntimeError("sizes do not match")), "cpu", fast=False)(make_image(rng), hole())


def test_a_result_that_is_not_finite_is_refused(rng):
    with pytest.raises(ValueError, match="not finite"):
        Inpainter(Constant(float("nan")), "cpu", fast=False)(make_image(rng), hole())


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "no such device"])
def test_a_device_that_is_not_there_is_refused_in_one_line(tiny_generator, device):
    with pytest.raises(ValueError, match="expected auto") as caught:
        Inpainter(tiny_generator, device)
    assert f"device={device}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def wrong_fourier(monkeypatch):
    """irfftn loses the last column of odd widths, as it did on MPS."""
    right = torch.fft.irfftn

    def wrong(x, s, **options):
        return torch.nn.functional.pad(right(x, s=s, **options)[..., : s[-1] // 2 * 2], (0, s[-1] % 2))

    fourier_is_right.cache_clear()
    monkeypatch.setattr(torch.fft, "irfftn", wrong)
    yield
    fourier_is_right.cache_clear()


def test_a_device_whose_fourier_transform_is_wrong_is_refused(wrong_fourier):
    with pytest.raises(ValueError, match=r"device=cpu: its Fourier transform is wrong") as caught:
        pick_device("cpu")
    assert "\n" not in str(caught.value)


def test_a_device_without_a_fourier_transform_counts_as_wrong(monkeypatch):
    def missing(*_, **__):
        raise NotImplementedError("aten::_fft_r2c is not implemented for MPS")

    monkeypatch.setattr(torch.fft, "rfftn", missing)
    assert not fourier_is_right.__wrapped__(torch.device("cpu"))


@pytest.mark.parametrize(
    ("there", "right", "chosen"),
    [
        ("cuda mps", "cuda mps cpu", "cuda"),
        ("cuda mps", "mps cpu", "mps"),
        ("mps", "cpu", "cpu"),
        ("", "cpu", "cpu"),
    ],
)
def test_auto_takes_the_first_device_that_computes_right_and_says_what_it_passes_over(
    monkeypatch, caplog, there, right, chosen
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    monkeypatch.setattr("lama.machine.device.fourier_is_right", lambda device: device.type in right)
    assert pick_device("auto").type == chosen
    passed = [name for name in there.split() if name not in right]
    assert len(caplog.records) == len(passed)
    assert all(name in record.message for name, record in zip(passed, caplog.records, strict=True))


def test_auto_on_a_machine_that_computes_nothing_right_is_an_error(wrong_fourier):
    with pytest.raises(ValueError, match="torch is broken here"):
        pick_device("auto")


@pytest.fixture
def model(tmp_path, tiny_generator):
    save_generator(tmp_path / "run" / "models" / "best.safetensors", tiny_generator)
    return tmp_path / "run"


@pytest.mark.parametrize("place", ["", "models/best.safetensors"])
def test_a_run_folder_or_a_file_is_loaded(model, inpainter, rng, place):
    image, mask = make_image(rng), hole()
    loaded = lama.load(str(model / place), device="cpu", compiled=False)
    np.testing.assert_array_equal(loaded(image, mask), inpainter(image, mask))


def test_loading_takes_the_options_of_the_inpainter(model, rng):
    with pytest.raises(ValueError, match="strategy=best"):
        lama.load(model, device="cpu", strategy="best")
    with pytest.raises(TypeError, match="featherr"):
        lama.load(model, device="cpu", featherr=3)


def test_loading_a_missing_path_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model there"):
        lama.load(tmp_path)


def imported_by(code):
    """The packages that a fresh interpreter has loaded after ``code``."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


HEAVY = {"pytorch_lightning", "lightning", "hydra", "albumentations", "kornia"}


def test_importing_the_package_is_light():
    assert not imported_by("import lama") & (HEAVY | {"cv2", "torchvision", "torch"})


def test_loading_a_model_and_using_it_is_light(model):
    code = f"import lama, numpy as np\nlama.load({str(model)!r}, 'cpu')(np.zeros((9, 9, 3), np.uint8), np.ones((9, 9)))"
    loaded = imported_by(code)
    assert "torch" in loaded
    assert not loaded & (HEAVY | {"lpips", "torchvision"})


def test_an_image_that_lies_on_its_side_says_so(inpainter, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (28, 20)).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(ValueError, match=r"image: .*EXIF.*exif_transpose"):
        inpainter(Image.open(tmp_path / "a.jpg"), np.ones((28, 20), bool))


def test_a_variant_shares_the_model(tiny_generator):
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (40, 56, 3), np.uint8), np.zeros((40, 56), np.uint8)
    mask[10:20, 10:30] = 255
    inpainter = Inpainter(tiny_generator, feather=3)
    soft, plain = inpainter(image, mask), Inpainter(tiny_generator)(image, mask)
    assert (soft != plain).any()
    np.testing.assert_array_equal(inpainter.variant(feather=0)(image, mask), plain)
    np.testing.assert_array_equal(inpainter.variant(strategy="full")(image, mask), soft)
    assert inpainter.variant(feather=0)._network is inpainter._network, "what has been built is not built again"
    assert inpainter.variant(precision="bf16")._network is not inpainter._network
    with pytest.raises(ValueError, match="feather=-1"):
        inpainter.variant(feather=-1)

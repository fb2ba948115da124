"""lama-small, the weights in the package: size, origin, and quality above a single colour."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

import lama
from lama.checkpoints import convert, find_weights, load_generator, save_generator
from lama.data import BuiltinPhotos
from lama.evaluation.baselines import find_baseline


def test_it_is_in_the_package_and_fits_ten_megabytes():
    file = find_weights("small")
    assert file.stat().st_size <= 10e6
    with safe_open(file, "pt") as content:
        assert {content.get_slice(key).get_dtype() for key in content.keys()} == {"F16", "I64"}  # noqa: SIM118


@pytest.mark.parametrize("name", ["chelsea", "coffee"])  # photographs that it was not trained on
def test_it_fills_a_hole_better_than_one_colour(name):
    photos = BuiltinPhotos("held_out", 256)
    _, image = photos[photos.names.index(name)]
    mask = np.zeros(image.shape[:2], bool)
    mask[90:150, 100:180] = True
    error = {
        what: np.square(np.asarray(fill(image, mask))[mask].astype(float) - image[mask]).mean()
        for what, fill in (("small", lama.load("small")), ("mean", find_baseline("mean_colour")))
    }
    assert error["small"] < error["mean"]


def test_predict_uses_it_where_no_model_is_named(tmp_path, root):
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
    mask[10:30, 20:40] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    command = [sys.executable, root / "bin" / "predict.py", f"indir={tmp_path}", f"outdir={tmp_path}/out"]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    result = np.asarray(Image.open(tmp_path / "out" / "a_mask.png"))
    np.testing.assert_array_equal(result, lama.load("small")(image, mask))


def test_a_model_is_written_as_half_and_read_as_float(tmp_path, tiny_generator):
    save_generator(tmp_path / "a.safetensors", tiny_generator)
    lines = convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", half=True)
    assert "rounded to float16" in lines[1]
    sizes = [(tmp_path / name).stat().st_size for name in ("a.safetensors", "b.safetensors")]
    assert sizes[1] < 0.7 * sizes[0]
    again = load_generator(tmp_path / "b.safetensors").state_dict()
    for key, value in tiny_generator.state_dict().items():
        assert again[key].dtype == value.dtype
        np.testing.assert_array_equal(again[key], value.half().to(value.dtype) if value.is_floating_point() else value)


def test_values_too_large_for_half_are_refused(tmp_path, tiny_generator):
    next(tiny_generator.parameters()).data.flatten()[0] = 1e6
    save_generator(tmp_path / "a.safetensors", tiny_generator)
    with pytest.raises(ValueError, match=r"half=true.*float16"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", half=True)
    with pytest.raises(ValueError, match=r"half=true: .*b\.safetensors"):
        convert(tmp_path / "a.safetensors", tmp_path / "b", half=True)
    assert not (tmp_path / "b.safetensors").exists()
    assert not (tmp_path / "b").exists()

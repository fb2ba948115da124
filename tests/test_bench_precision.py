"""``lama bench precision``: sizes and losses of ONNX files."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import toy_onnx
from PIL import Image

from lama.bench import bench_precision


def test_the_loss_is_measured_in_the_hole(tmp_path):
    for name in "abc":
        Image.fromarray(np.full((50, 60, 3), 100 + ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    Image.fromarray(np.zeros((10, 60, 3), np.uint8)).save(tmp_path / "small.png")
    files = [toy_onnx.write(tmp_path / f"{name}.onnx", offset=offset) for name, offset in (("one", 0.1), ("two", 0.11))]
    arguments = [*map(str, files), "--images", str(tmp_path), "--size", "48", "--hole", "24"]
    lines = bench_precision(*arguments, "--sheet", str(tmp_path / "out.png"))
    assert lines[0].startswith("3 photographs of 48 x 48, hole of 25.0%")
    first, second = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[-2:])
    assert first[0] == "one.onnx"
    assert first[4:] == ["", "", ""]
    assert float(second[4]) == pytest.approx(40, abs=0.1)  # a difference of 0.01
    assert float(second[6]) == pytest.approx(0.01, abs=1e-3)
    levels = np.array([197, 198, 199]) / 255
    expected = -20 * np.log10(np.abs(0.75 * levels + 0.1 - levels))
    assert float(first[2]) == pytest.approx(expected.mean(), abs=0.01)
    assert Image.open(tmp_path / "out.png").size == (4 * 48, 22 + 3 * 48)


def test_wrong_options_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="--hole < --size"):
        bench_precision("a.onnx", "--size", "40", "--hole", "40")
    Image.fromarray(np.zeros((10, 60, 3), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="at least 48 x 48"):
        bench_precision("a.onnx", "--images", str(tmp_path), "--size", "48", "--hole", "24")

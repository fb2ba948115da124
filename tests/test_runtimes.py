"""``lama bench runtimes``: an exported network in every runtime on this machine."""

import csv
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import toy_onnx
from test_export import exported, folder  # noqa: F401  (fixtures)

from lama.bench import bench_runtimes, runtimes
from lama.bench.javascript_runtimes import CHROMIUM, NODE, WEB
from lama.bench.python_runtimes import ONNXRUNTIME, PythonRuntime

ABSENT = PythonRuntime("Absent", "a_runtime_that_is_absent", ("absent",), lambda file, feed: lambda: None)
BROKEN = PythonRuntime("Broken", "json", ("numpy",), lambda file, feed: lambda: 1 / 0)
OTHER = PythonRuntime("Other", "json", ("numpy",), lambda file, feed: lambda: feed["image"] + 0.5)


def table(lines):
    """The cells of each row of a table in Markdown, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def test_a_table_says_what_runs_and_what_does_not(monkeypatch, tmp_path):
    monkeypatch.setattr(runtimes, "load_generator", lambda path: toy_onnx.Toy())
    monkeypatch.setattr(runtimes, "RUNTIMES", (ONNXRUNTIME, ABSENT, BROKEN, OTHER))
    file = str(toy_onnx.write(tmp_path / "toy.onnx"))
    arguments = ["--files", file, "--size", "40", "--rounds", "1", "--out", str(tmp_path / "out")]
    rows = table(bench_runtimes(*arguments))
    assert [row[:1] + row[2:4] for row in rows] == [
        ["ONNX Runtime", "matmul", "free"], ["ONNX Runtime", "matmul", "40 x 40"], ["Absent", "", ""],
        ["Broken", "matmul", "free"], ["Broken", "matmul", "40 x 40"],
        ["Other", "matmul", "free"], ["Other", "matmul", "40 x 40"],
    ]  # fmt: skip
    assert all(float(row[4]) < 1e-5 for row in rows[:2])
    assert all(float(row[6]) > 0 for row in rows[:2])
    assert rows[2][4] == "not installed: pip install absent"
    assert rows[3][4].startswith("does not run: division by zero")
    assert float(rows[5][4]) > 0.1
    stored = json.loads((tmp_path / "out" / "runtimes.json").read_text())
    with (tmp_path / "out" / "runtimes.csv").open() as lines:
        assert [row["outcome"] for row in csv.DictReader(lines)] == [row["outcome"] for row in stored]
    assert [row["clock"] for row in stored][:2] == ["cpu", "cpu"]
    assert stored[0]["times_pytorch"] == pytest.approx(float(rows[0][6]), abs=0.006)


def test_a_file_that_is_missing_is_one_line():
    with pytest.raises(FileNotFoundError, match=r"--files none\.onnx: no such file"):
        bench_runtimes("--files", "none.onnx")
    with pytest.raises(ValueError, match="--size of at least 16"):
        bench_runtimes("--size", "1")


FAKE = """
class Tensor { constructor(type, data, dims) { Object.assign(this, {type, data, dims}); } }
class InferenceSession {
  static async create(bytes) {
    if (bytes.toString() !== 'network') throw new Error('not a network');
    return new InferenceSession();
  }
  async run({image, mask}) {
    const plane = mask.data.length;
    return {completed: {data: image.data.map((value, i) => mask.data[i % plane] ? 0.25 : value)}};
  }
}
module.exports = {Tensor, InferenceSession, env: {}};
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on this machine")
def test_a_package_of_npm_runs_in_a_process_of_its_own(tmp_path):
    package = tmp_path / "node_modules" / "onnxruntime-node"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text('{"version": "9.8.7"}')
    (package / "dist" / "index.js").write_text(FAKE)
    file = tmp_path / "network.onnx"
    file.write_text("network")
    rng = np.random.default_rng(0)
    feed = {"image": rng.random((1, 3, 6, 5), np.float32), "mask": np.float32(rng.random((1, 1, 6, 5)) > 0.5)}
    assert NODE.missing(tmp_path) == ""
    assert NODE.version(tmp_path) == "9.8.7"
    assert WEB.missing(tmp_path) == "npm install --ignore-scripts onnxruntime-web, and --node FOLDER"
    assert CHROMIUM.missing(tmp_path)
    run, close = NODE.open(file, feed, tmp_path)
    for _ in range(2):
        result, seconds = run()
        assert np.array_equal(result, np.where(feed["mask"] > 0, np.float32(0.25), feed["image"]))
        assert 0 <= seconds < 5
    close()
    file.write_text("text")
    with pytest.raises(RuntimeError, match=r"^not a network$"):
        NODE.open(file, feed, tmp_path)


@pytest.mark.slow
def test_the_runtimes_on_this_machine_run_the_default_file(folder, exported):  # noqa: F811
    """OpenCV has free sizes from version 5 on, tract needs fixed ones; only ONNX Runtime computes the DFT operator."""
    model = str(folder / "ffc.safetensors")
    files = [str(exported("onnx")), str(exported("onnx", "native"))]
    rows = table(bench_runtimes("--model", model, "--size", "64", "--rounds", "1", "--files", *files))
    ran = [row for row in rows if "not installed" not in row[4]]
    assert {row[0] for row in ran} >= {"ONNX Runtime"}
    assert ran[0][0] == "lama predict"
    assert float(ran[0][4]) < 1e-4
    for name, version, form, sizes, difference, *_ in ran[1:]:
        if name.startswith("OpenCV") and int(version.partition(".")[0]) < 5:
            continue
        if (form == "matmul" and (name != "tract" or sizes != "free")) or name.lower().startswith("onnx"):
            assert float(difference) < 1e-5, (name, form, sizes)
        else:
            assert "not" in difference

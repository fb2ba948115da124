"""An exported network in each runtime for ONNX on this machine: whether it loads, error and time beside PyTorch."""

import argparse
import csv
import io
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lama import __version__
from lama.bench.javascript_runtimes import CHROMIUM, NODE, WEB
from lama.bench.python_runtimes import ONNXRUNTIME, OPENCV, OPENVINO, TRACT
from lama.bench.timing import noise
from lama.checkpoints import load_generator
from lama.conventions import complete
from lama.export import export_model
from lama.fast.fuse import can_fuse, fuse
from lama.files import write_text
from lama.interfaces import OnnxRuntime
from lama.verbs import typed

RUNTIMES: tuple[OnnxRuntime, ...] = (ONNXRUNTIME, OPENVINO, OPENCV, TRACT, NODE, WEB, CHROMIUM)
Floats = NDArray[np.float32]


@dataclass
class Row:
    """One runtime with one file."""

    runtime: str
    version: str = ""
    form: str = ""  # of the Fourier transform: matmul or native
    sizes: str = ""  # "free", or the height and width that the file is fixed to
    outcome: str = "runs"  # or "not installed: COMMAND", "does not load: REASON", "does not run: REASON"
    largest_difference: float | None = None  # from PyTorch, of values in [0, 1]
    seconds: float | None = None  # median
    times_pytorch: float | None = None  # median of ratios of neighbouring runs
    clock: str = ""  # cpu: seconds of the processor; wall: of a clock on the wall


def bench_runtimes(*arguments: str) -> list[str]:
    """The table in Markdown; with ``--out FOLDER`` also ``runtimes.csv`` and ``runtimes.json`` there."""
    parser = argparse.ArgumentParser(f"{typed('bench')} runtimes", description=__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("--files", nargs="+", type=Path, help=".onnx files of the model; default: written now")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--node", type=Path, default=Path(), help="the folder in which npm install was run")
    parser.add_argument("--out", type=Path, help="a folder for runtimes.csv and runtimes.json")
    options = parser.parse_args(arguments)
    if options.size < 16 or options.rounds < 1:
        raise ValueError("bench runtimes: expected --size of at least 16 and --rounds of at least 1")
    for file in options.files or ():
        if not file.is_file():
            raise FileNotFoundError(f"--files {file}: no such file")
    torch.set_num_threads(1)
    image, mask = noise(1, options.size)
    network = load_generator(options.model)
    with TemporaryDirectory() as folder:
        files = _with_fixed(options.files or _written(options.model, Path(folder)), options.size, Path(folder))
        measure = _Measure(network, image, mask, options.rounds, options.node)
        rows = [measure.row_of_this_package()] if can_fuse(network) else []
        with tqdm(total=len(RUNTIMES) * len(files), desc="runtimes", leave=False) as progress:
            for runtime in RUNTIMES:
                missing = runtime.missing(options.node)
                rows += [Row(runtime.name, outcome=f"not installed: {missing}")] if missing else []
                for file in files:
                    rows += [] if missing else [measure.row(runtime, file)]
                    progress.update()
                    if options.out is not None:
                        _save(rows, options.out)  # an interrupted command leaves what it has measured
    title = f"{options.model}, {options.size} x {options.size}, one thread, PyTorch {torch.__version__} = 1"
    return [title, "", *_markdown(rows)]


class _Measure:
    """One image in PyTorch and in a runtime, in turn."""

    def __init__(self, network: Any, image: torch.Tensor, mask: torch.Tensor, rounds: int, node: Path) -> None:
        self._network, self._image, self._mask = network.eval(), image, mask
        self._rounds, self._node = rounds, node
        self._feed = {"image": image.numpy(), "mask": mask.numpy()}

    def row_of_this_package(self) -> Row:
        """The fast equivalent of the network, as ``lama predict`` computes it."""
        row = Row("lama predict", __version__, clock="cpu")
        fast = fuse(self._network, compiled=True)
        self._alternate(row, lambda: self._completed(fast, row.clock))
        return row

    def row(self, runtime: OnnxRuntime, file: Path) -> Row:
        row = Row(runtime.name, runtime.version(self._node), clock=runtime.clock)
        row.form, row.sizes = _described(file)
        try:
            run, close = runtime.open(file, self._feed, self._node)
        except Exception as error:  # every runtime raises its own
            row.outcome = f"does not load: {_short(error)}"
            return row
        try:
            self._alternate(row, run)
        except Exception as error:
            row.outcome = f"does not run: {_short(error)}"
        finally:
            close()
        return row

    def _alternate(self, row: Row, run: Any) -> None:
        expected, _ = self._by_torch(row.clock)
        result, _ = run()  # to warm up
        row.largest_difference = float(np.abs(result - expected).max()) if result.shape == expected.shape else np.inf
        pairs = [(self._by_torch(row.clock)[1], run()[1]) for _ in range(self._rounds)]
        row.seconds = statistics.median(theirs for _, theirs in pairs)
        row.times_pytorch = statistics.median(theirs / ours for ours, theirs in pairs)

    def _by_torch(self, clock: str) -> tuple[Floats, float]:
        return self._completed(self._network, clock)

    @torch.inference_mode()
    def _completed(self, network: Any, clock: str) -> tuple[Floats, float]:
        now = time.process_time if clock == "cpu" else time.perf_counter
        before = now()
        result = complete(network, self._image, self._mask)[1].numpy()
        return result, now() - before


def _written(model: str, folder: Path) -> list[Path]:
    files = []
    for fft in tqdm(("matmul", "native"), desc="exporting", leave=False):
        files.append(folder / f"{fft}.onnx")
        export_model(model, "onnx", str(files[-1]), fft=fft)
    return files


def _with_fixed(files: Sequence[Path], size: int, folder: Path) -> list[Path]:
    """``files``, and the first of matrix products once more with inputs of a fixed size."""
    import onnx

    for file in files:
        if _described(file) == ("matmul", "free"):
            model = onnx.load(file)
            for value in (*model.graph.input, *model.graph.output):
                for axis, length in ((0, 1), (2, size), (3, size)):
                    value.type.tensor_type.shape.dim[axis].dim_value = length
            fixed = folder / "fixed.onnx"
            onnx.save(model, fixed)
            return [*files, fixed]
    return [*files]


def _described(file: Path) -> tuple[str, str]:
    """(form of the Fourier transform, sizes) of a file."""
    import onnx

    model = onnx.load(file)
    form = next((entry.value for entry in model.metadata_props if entry.key == "fft"), "unknown")
    height, width = model.graph.input[0].type.tensor_type.shape.dim[2:4]
    return form, f"{height.dim_value} x {width.dim_value}" if height.dim_value else "free"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:100].replace("|", "/")


def _save(rows: Sequence[Row], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(folder / "runtimes.csv", text.getvalue())
    write_text(folder / "runtimes.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _markdown(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| runtime | version | `fft` | sizes | difference | seconds | times PyTorch's |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.times_pytorch is None:
            numbers = f"{row.outcome} | | |"
        else:
            wall = " (wall)" if row.clock == "wall" else ""
            numbers = f"{row.largest_difference:.0e} | {row.seconds:.2f}{wall} | {row.times_pytorch:.2f} |"
        lines.append(f"| {row.runtime} | {row.version} | {row.form} | {row.sizes} | {numbers}")
    return lines

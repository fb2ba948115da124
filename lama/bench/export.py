"""An exported network in each runtime for ONNX on this machine: whether it loads, time, difference from torch."""

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lama.bench.timing import noise
from lama.checkpoints import load_generator
from lama.conventions import complete
from lama.export import export_model
from lama.verbs import typed

Run = Callable[[dict[str, NDArray[np.float32]]], NDArray[np.float32]]  # {"image", "mask"} -> completed (1, 3, H, W)


def bench_export(*arguments: str) -> list[str]:
    """A line for each runtime and file: seconds of the processor on one thread, largest difference from torch."""
    parser = argparse.ArgumentParser(f"{typed('bench')} export", description=__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("--files", nargs="+", type=Path, help=".onnx files of the model; default: written now")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.size < 16 or options.rounds < 1:
        raise ValueError("bench export: expected --size of at least 16 and --rounds of at least 1")
    torch.set_num_threads(1)
    image, mask = noise(1, options.size)
    with torch.inference_mode():
        expected = complete(load_generator(options.model), image, mask)[1].numpy()
    with TemporaryDirectory() as folder:
        files = options.files or _written(options.model, Path(folder))
        feed = {"image": image.numpy(), "mask": mask.numpy()}
        lines = [f"{options.model}, {options.size} x {options.size}, one thread"]
        for name, read in RUNTIMES.items():
            title = f"{name} {importlib.import_module(name).__version__.partition('-')[0]}" if find_spec(name) else name
            for file in files:
                found = _measured(read, file, feed, expected, options.rounds) if find_spec(name) else "not installed"
                lines.append(f"{title:20} {file.name:12} {found}")
    return lines


def _written(model: str, folder: Path) -> list[Path]:
    files = []
    for fft in tqdm(("native", "matmul"), desc="exporting", leave=False):
        files.append(folder / f"{fft}.onnx")
        export_model(model, "onnx", str(files[-1]), fft=fft)
    return files


def _measured(read: Any, file: Path, feed: dict[str, Any], expected: NDArray[np.float32], rounds: int) -> str:
    try:
        run = read(file)
    except Exception as error:  # every runtime raises its own
        return f"does not load: {_short(error)}"
    seconds = []
    try:
        for _ in range(rounds + 1):  # the first is to warm up
            before = time.process_time()
            result = run(feed)
            seconds.append(time.process_time() - before)
    except Exception as error:
        return f"loads but does not run: {_short(error)}"
    difference = np.abs(result - expected).max() if result.shape == expected.shape else np.inf
    return f"{statistics.median(seconds[1:]):6.2f} s, largest difference {difference:.0e}"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:100]


def _onnxruntime(file: Path) -> Run:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)[0]


def _openvino(file: Path) -> Run:
    import openvino

    core = openvino.Core()
    precise = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(file), "CPU", precise)
    return lambda feed: compiled(feed)[0]


def _opencv(file: Path) -> Run:
    import cv2

    cv2.setNumThreads(1)
    network = cv2.dnn.readNetFromONNX(str(file))

    def run(feed: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        for name, value in feed.items():
            network.setInput(value, name)
        return np.asarray(network.forward())

    return run


RUNTIMES = {"onnxruntime": _onnxruntime, "openvino": _openvino, "cv2": _opencv}  # by the name of the package

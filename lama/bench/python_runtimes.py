"""Runtimes for ONNX with a Python package, on one thread of the processor."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lama.interfaces import OnnxSession

Feed = dict[str, Any]


@dataclass(frozen=True)
class PythonRuntime:
    """A runtime with a Python module.

    ``module`` is the name to import. ``packages`` are the packages of PyPI that contain it; advice names the first one.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    load: Callable[[Path, Feed], Callable[[], Any]]
    clock: str = "cpu"

    def missing(self, node: Path) -> str:
        """The command that installs it; empty if it is there."""
        return "" if find_spec(self.module) else f"pip install {self.packages[0]}"

    def version(self, node: Path) -> str:
        """Of the package on PyPI."""
        for package in self.packages:
            with suppress(metadata.PackageNotFoundError):
                return metadata.version(package)
        return "unknown"

    def open(self, file: Path, feed: Feed, node: Path) -> OnnxSession:
        """(a function that gives the output and the seconds of one run, a function that ends the session)."""
        compute = self.load(file, feed)

        def run() -> tuple[Any, float]:
            before = time.process_time()
            result = np.asarray(compute())
            return result, time.process_time() - before

        return run, lambda: None


def _onnxruntime(file: Path, feed: Feed) -> Callable[[], Any]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feed)[0]


def _openvino(file: Path, feed: Feed) -> Callable[[], Any]:
    import openvino

    core = openvino.Core()
    precise = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(file), "CPU", precise)
    return lambda: compiled(feed)[0]


def _opencv(file: Path, feed: Feed) -> Callable[[], Any]:
    import cv2

    cv2.setNumThreads(1)
    network = cv2.dnn.readNetFromONNX(str(file))

    def compute() -> Any:
        for name, value in feed.items():
            network.setInput(value, name)
        return network.forward()

    return compute


def _tract(file: Path, feed: Feed) -> Callable[[], Any]:
    import tract

    model = tract.onnx().load(str(file)).into_model().into_runnable()
    return lambda: model.run(list(feed.values()))[0].to_numpy()


ONNXRUNTIME = PythonRuntime("ONNX Runtime", "onnxruntime", ("onnxruntime", "onnxruntime-gpu"), _onnxruntime)
OPENVINO = PythonRuntime("OpenVINO", "openvino", ("openvino",), _openvino)
OPENCV = PythonRuntime(
    "OpenCV, cv2.dnn", "cv2", ("opencv-python-headless", "opencv-python", "opencv-contrib-python"), _opencv
)
TRACT = PythonRuntime("tract", "tract", ("tract",), _tract)

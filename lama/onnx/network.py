"""An exported network in ONNX Runtime."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lama.pixels.opened import Array, white

_INPUTS, _OUTPUT = ("image", "mask"), "completed"
_EXPORT = "lama export model.path=small format=onnx out={path}"
# Peak bytes beside those before the run, of ONNX Runtime 1.32 on a CPU: pytest -m slow tests/test_onnx.py -k peak -s
_TOP = 24.0  # per channel and pixel of the first level
_CHANNELS = 64  # of the first level, where the file does not state them


class Network:
    """The file at ``path``, written by ``lama export format=onnx`` with ``pre_post=true``, ready to run.

    ``threads`` None: as many as ONNX Runtime chooses. Raises ImportError without onnxruntime, FileNotFoundError without
    a file, ValueError for a file of another kind and for a provider that this build of onnxruntime lacks.
    """

    def __init__(self, path: str | Path, threads: int | None, providers: Sequence[str]) -> None:
        self.path = Path(path).expanduser()
        if self.path.is_dir() or not self.path.exists():
            found = "is a folder, expected an .onnx file" if self.path.is_dir() else "no such file"
            raise FileNotFoundError(f"{path}: {found}; {_EXPORT.format(path='lama.onnx')} writes one, where torch is")
        if threads is not None and threads < 1:
            raise ValueError(f"threads={threads}: expected at least 1, or None")
        self._session = _opened(self.path, threads, providers)
        names = tuple(value.name for value in self._session.get_inputs())
        outputs = [value.name for value in self._session.get_outputs()]
        if names != _INPUTS or outputs != [_OUTPUT]:
            got = f"{', '.join(names)} -> {', '.join(outputs)}"
            raise ValueError(f"{path}: expected image, mask -> completed, got {got}; {_EXPORT.format(path=path)}")

        self._stated: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    @property
    def scale(self) -> int | None:
        """Longer side in pixels at which the network works best, if the file states it."""
        return int(self._stated["scale"]) if "scale" in self._stated else None

    @property
    def bytes_per_pixel(self) -> float:
        """Peak memory of a run, without fixed parts, by the width that the file states."""
        stated = json.loads(self._stated.get("network", "{}"))
        return _TOP * float(stated.get("config", {}).get("ngf", _CHANNELS))

    def predict(self, pixels: Array, hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(h, w, 3) of an image's type and (h, w), True = hole -> float32 (h, w, 3): filled, in about [0, 1].

        Raises ValueError if memory runs out or a value is not finite.
        """
        image = np.empty((1, 3, *hole.shape), np.float32)
        np.divide(pixels.transpose(2, 0, 1), white(pixels.dtype), out=image[0], casting="unsafe")
        image[0, :, hole] = 0
        feed = {"image": image, "mask": hole[None, None].astype(np.float32)}
        try:
            completed: Any = self._session.run(None, feed)[0]
        except Exception as error:  # onnxruntime's own types
            height, width = hole.shape
            if "alloc" not in str(error):
                raise ValueError(f"{self.path}: cannot be run on {width} x {height} pixels: {_line(error)}") from error
            advice = "set max_memory to fewer GB with strategy=auto, or strategy=tile"
            raise ValueError(f"out of memory for {width} x {height} pixels; {advice}") from error
        if not np.isfinite(completed).all():
            raise ValueError(f"{self.path}: the network's output is not finite; export it again, without half=true")
        return completed[0].transpose(1, 2, 0)


def _opened(path: Path, threads: int | None, providers: Sequence[str]) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise ImportError("lama.onnx needs onnxruntime: pip install onnxruntime") from None
    have = ", ".join(onnxruntime.get_available_providers())
    if isinstance(providers, str) or not isinstance(providers, Sequence):
        raise ValueError(f"providers={providers!r}: expected a list of some of {have}")
    missing = [str(name) for name in providers if name not in onnxruntime.get_available_providers()]
    if missing:
        raise ValueError(f"providers: this onnxruntime has no {' and no '.join(missing)}; it has {have}")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors only
    if threads is not None:
        settings.intra_op_num_threads = settings.inter_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=list(providers))
    except Exception as error:  # onnxruntime's own types
        if type(error).__name__ == "InvalidProtobuf" or "No graph was found" in str(error):
            raise ValueError(f"{path}: not an ONNX file, or damaged; {_EXPORT.format(path='lama.onnx')}") from error
        raise ValueError(f"{path}: ONNX Runtime cannot read it: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

"""Export: from a trained model to a checked file for another runtime."""

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

import lama
from lama.checkpoints import load_generator
from lama.conventions import complete
from lama.export import darktable, onnx, pt2, torchscript
from lama.export.check import examples, largest_difference
from lama.export.contract import contract
from lama.export.deployed import Deployed
from lama.export.fourier import with_matmul
from lama.export.half import Half
from lama.export.int8 import with_int8_weights
from lama.files import atomic_write, check_writable
from lama.interfaces import Exporter

FORMATS: dict[str, Exporter] = {"torchscript": torchscript, "onnx": onnx, "pt2": pt2, "darktable": darktable}
_FFT = ("auto", "native", "matmul")


def export_model(
    model: str,  # anything that ``lama.load`` takes
    format: str,  # torchscript, onnx, pt2 or darktable
    out: str,
    pre_post: bool = True,  # masking, padding, cropping and compositing inside
    fft: str = "auto",  # native: the runtime's Fourier transform; matmul: matrix products; auto: by the format
    half: bool = False,  # weights and activations in float16, inputs, output and Fourier transforms in float32
    int8: bool = False,  # onnx: weights stored in 8 bits, computed in float32
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,  # called with each line of the report
) -> None:
    """Write the generator at ``model`` to ``out``; batch, height and width stay free.

    The file is read again and run on three sizes and two batches. It is kept if it differs from the network by at most
    ``check.TOLERANCE``, or ``SMALL_TOLERANCE`` with ``half`` or ``int8``. Raises ValueError, FileNotFoundError,
    FileExistsError, NotADirectoryError or PermissionError, in one line.
    """
    path = Path(out).expanduser()
    _check_request(format, path, fft, half, int8, overwrite)
    fft = FORMATS[format].FFT if fft == "auto" else fft
    generator = load_generator(model)
    interface = contract(generator, pre_post)
    say(f"{model}: {type(generator).__name__}, {sum(p.numel() for p in generator.parameters()):,} parameters")
    with atomic_write(path) as written:
        matmul = ", with matrix products for the Fourier transform" if fft == "matmul" else ""
        say(f"writing {format}{' in float16' if half else ', weights in 8 bits' if int8 else ''}{matmul}")
        inputs = list(examples(generator, pre_post))
        with _quiet(), torch.no_grad():
            network = _network(generator, pre_post, fft, half)
            described = json.dumps({"class": type(generator).__name__, "config": generator.config})
            precision = "float16" if half else "float32, weights stored in int8" if int8 else "float32"
            how = {
                "network": described,
                "fft": fft,
                "precision": precision,
                "producer": f"lama {lama.__version__}",
                "name": path.stem,
            }
            scale = getattr(generator, "own_scale", None)
            how |= {} if scale is None else {"scale": str(scale)}
            content = FORMATS[format].dump(network, inputs[0], interface | how, list(interface))
            written.write_bytes(with_int8_weights(content) if int8 else content)
            run = FORMATS[format].read(written)
            expected = (lambda *pair: complete(generator, *pair)[1]) if pre_post else generator
            worst = largest_difference(run, expected, inputs, small=half or int8)
    say(f"read again: differs from the network by at most {worst:.0e}, on 3 sizes and 2 batches")
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    for name, meaning in interface.items():
        say(f"  {name}: {meaning}")
    say("to run it:")
    *names, output = interface
    feed = "{" + ", ".join(f"{name!r}: {name}" for name in names) + "}"
    program = FORMATS[format].SNIPPET.format(file=str(path), inputs=", ".join(names), output=output, feed=feed)
    for line in program.splitlines():
        say(f"  {line}")


def _check_request(format: str, path: Path, fft: str, half: bool, int8: bool, overwrite: bool) -> None:
    """Raise for options that contradict each other or the file system, before anything is loaded."""
    if format not in FORMATS:
        raise ValueError(f"format={format}: expected one of {', '.join(FORMATS)}")
    if fft not in _FFT:
        raise ValueError(f"fft={fft}: expected one of {', '.join(_FFT)}")
    if int8 and (format != "onnx" or half):
        given = f"format={format}" if format != "onnx" else "half=true"
        raise ValueError(f"int8=true: expected format=onnx (or web) and half=false, got {given}")
    suffix = FORMATS[format].SUFFIX
    if path.suffix.lower() != suffix:
        raise ValueError(f"out={path}: expected a name ending in {suffix} for format={format}")
    if path.is_dir():
        raise FileExistsError(f"out={path}: is a folder; choose another name")
    if path.exists() and not overwrite:
        raise FileExistsError(f"out={path}: exists already; replace it with overwrite=true")
    check_writable(path.parent, "out", path)
    missing = [name for name in FORMATS[format].PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"format={format} needs {' and '.join(missing)}: pip install '.[export]' in the clone")


def _network(generator: nn.Module, pre_post: bool, fft: str, half: bool) -> nn.Module:
    network = with_matmul(generator) if fft == "matmul" else generator
    network = Half(network).eval() if half else network
    if not pre_post:
        return network
    return Deployed(network, int(generator.pad_multiple), int(generator.min_size)).eval()  # type: ignore[arg-type]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' warnings; ``check`` tests the result itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

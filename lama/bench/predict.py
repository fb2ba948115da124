"""Prediction on a CPU: the trained module in a default process, compared with its fused equivalent in a tuned one.

Every measurement is a process of its own, and the variants alternate. So neither leftover memory nor a change in the
speed of the machine favours one. Weights are random; BatchNorm is calibrated, which gives activations realistic sizes.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from lama.bench.predict_worker import VARIANTS
from lama.bench.timing import noise, run_worker, times_as_fast
from lama.checkpoints import save_generator
from lama.conventions import generator_input
from lama.machine.allocator import MOST_PIXELS
from lama.models import FFCResNetGenerator
from lama.verbs import typed

WORKER = """
import json, resource, sys, time
import numpy as np
from lama.inference import Inpainter
from lama.models import FFCResNetGenerator
strategy, side = sys.argv[1], int(sys.argv[2])
inpainter = Inpainter(FFCResNetGenerator(ngf=int(sys.argv[3])), "cpu", strategy=strategy, max_memory=float(sys.argv[4]))
height, width = side * 2 // 3, side
image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
mask = np.zeros((height, width), bool)
hole = round((height * width / 100) ** 0.5)
mask[height // 2 : height // 2 + hole, width // 3 : width // 3 + hole] = True
inpainter(image[:256, :256], np.pad(np.ones((64, 64), bool), 96))
start = time.perf_counter()
inpainter(image, mask)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"seconds": seconds, "peak": peak}))
"""
Measured = dict[str, float]


def bench_hole(*arguments: str) -> list[str]:
    """A hole of 1 % of the area of a large photograph: seconds and memory of a crop around it and of the whole image.

    Raises ValueError if a process fails.
    """
    parser = argparse.ArgumentParser(f"{typed('bench')} hole", description=bench_hole.__doc__)
    parser.add_argument("--side", type=int, default=6000, help="pixels of the longer side; the other is two thirds")
    parser.add_argument("--ngf", type=int, default=64, help="channels after the first convolution")
    parser.add_argument("--max-memory", type=float, default=3, help="GB; if short, the image is computed in chunks")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.side < 768 or options.ngf < 4:
        raise ValueError("bench hole: expected --rounds >= 1, --side >= 768 and --ngf >= 4")
    measured: dict[str, list[dict[str, float]]] = {"auto": [], "full": []}
    for strategy in tqdm([*measured] * options.rounds, desc="hole", unit="process"):
        command = [sys.executable, "-c", WORKER, strategy, *map(str, (options.side, options.ngf, options.max_memory))]
        measured[strategy].append(run_worker(command, f"hole, {strategy}"))
    lines = [f"{options.side} x {options.side * 2 // 3}, a hole of 1 %, FFCResNetGenerator(ngf={options.ngf})"]
    for strategy, runs in measured.items():
        seconds, peak = (statistics.median(run[what] for run in runs) for what in ("seconds", "peak"))
        lines.append(f"strategy={strategy}: {seconds:8.2f} s, {peak / 1e6:.0f} MB")
    auto, full = ([run["seconds"] for run in runs] for runs in measured.values())
    return [*lines, times_as_fast(full, auto)]


def bench_predict(*arguments: str) -> list[str]:
    """Lines of a table for each size. Raises ValueError if a process fails."""
    options = _parse(arguments)
    lines = [
        f"FFCResNetGenerator(ngf={options.ngf}, n_blocks={options.n_blocks}), random weights; {options.rounds} rounds "
        f"of fresh processes; {torch.get_num_threads()} threads, torch {torch.__version__}; frame {options.frame}"
    ]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        save_generator(model, calibrated(options.ngf, options.n_blocks))
        variants = ["trained", *(name for name in options.variants if name != "trained")]
        progress = tqdm(total=len(options.sizes) * options.rounds * len(variants), desc="predict", unit="process")
        with progress:
            for size in options.sizes:
                measured: dict[str, list[Measured]] = {name: [] for name in variants}
                for _ in range(options.rounds):
                    for name in variants:
                        progress.set_postfix_str(f"{size}, {name}")
                        measured[name].append(_process(model, name, size, options.frame))
                        progress.update()
                lines += [_line(size, name, measured, Path(folder)) for name in variants]
    return lines


def calibrated(ngf: int, n_blocks: int) -> nn.Module:
    """LaMa-Fourier with random weights and the BatchNorm statistics of one image."""
    torch.manual_seed(0)
    generator = FFCResNetGenerator(ngf=ngf, n_blocks=n_blocks)
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches, here one
    with torch.no_grad():
        generator.train()(generator_input(*noise(1, 256)))
    return generator.eval()


def _process(model: Path, variant: str, size: int, frame: str) -> Measured:
    worker = Path(__file__).with_name("predict_worker.py")
    out = model.with_name(_output(variant, size))
    chunked = frame == "chunked" or (frame == "auto" and size**2 > MOST_PIXELS)
    # -P: the worker's folder is not searched for modules
    command = [sys.executable, "-P", str(worker), str(model), variant, str(size), str(chunked), str(out)]
    return run_worker(command, f"predict, {variant} at {size} x {size}")


def _output(variant: str, size: int) -> str:
    return f"{variant.replace(' ', '_')}_{size}.npy"


def _line(size: int, name: str, measured: dict[str, list[Measured]], folder: Path) -> str:
    seconds = statistics.median(run["seconds"] for run in measured[name])
    peak = statistics.median(run["peak"] for run in measured[name])
    line = f"{size:5} {name:14} {seconds:8.3f} s {peak:7.0f} MB"
    if name == "trained":
        return line
    first, now = ([run["seconds"] for run in measured[each]] for each in ("trained", name))
    pairs = zip(measured["trained"], measured[name], strict=True)
    memory = statistics.median(ours["peak"] / trained["peak"] for trained, ours in pairs)
    ours, trained = (np.load(folder / _output(variant, size)) for variant in (name, "trained"))
    difference = np.abs(ours.astype(np.float64) - trained)
    squared = float((difference**2).mean())
    psnr = f"PSNR {-10 * math.log10(squared):.1f} dB" if squared else "equal"
    line += f"   {times_as_fast(first, now)}, {memory:.2f} of the memory"
    return f"{line}, error at most {difference.max():.1e}, {psnr}"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(f"{typed('bench')} predict", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048], help="pixels a side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--ngf", type=int, default=64, help="channels after the first convolution")
    parser.add_argument("--n-blocks", type=int, default=9, help="18 is Big LaMa")
    parser.add_argument("--frame", choices=["auto", "whole", "chunked"], default="auto", help="chunked above 1024^2")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or min(options.sizes) < 16:
        raise ValueError("bench predict: expected --rounds of at least 1 and --sizes of at least 16")
    return options

"""A small hole in a large photograph: a crop around the hole, compared with the whole image."""

import argparse
import json
import statistics
import subprocess
import sys

from tqdm import tqdm

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


def bench_hole(*arguments: str) -> list[str]:
    """Seconds and memory of both for a hole of 1 % of the area. Raises ValueError if a process fails."""
    parser = argparse.ArgumentParser(f"{typed('bench')} hole", description=__doc__)
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
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"bench hole, {strategy}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
        measured[strategy].append(json.loads(done.stdout.splitlines()[-1]))
    lines = [f"{options.side} x {options.side * 2 // 3}, a hole of 1 %, FFCResNetGenerator(ngf={options.ngf})"]
    for strategy, runs in measured.items():
        seconds, peak = (statistics.median(run[what] for run in runs) for what in ("seconds", "peak"))
        lines.append(f"strategy={strategy}: {seconds:8.2f} s, {peak / 1e6:.0f} MB")
    ratios = [full["seconds"] / auto["seconds"] for auto, full in zip(*measured.values(), strict=True)]
    return [*lines, f"{statistics.median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})"]

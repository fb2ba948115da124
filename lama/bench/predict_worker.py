"""One process of ``bench.predict``, a file without the other benchmarks' imports; prints JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lama.bench.timing import noise
from lama.checkpoints import load_generator
from lama.conventions import generator_input
from lama.fast.fuse import fuse
from lama.machine.allocator import tune_allocator
from lama.machine.memory import peak_memory

VARIANTS = {  # name: (precision, compiled); the first is the trained module in a default process
    "trained": None,
    "fp32": ("fp32", False),
    "fp32 compiled": ("fp32", True),
    "bf16": ("bf16", False),
    "bf16 compiled": ("bf16", True),
}


@torch.no_grad()
def main(model: str, variant: str, size: int, chunked: bool, out: str) -> dict[str, float]:
    """Seconds and peak memory in MB of ``variant``; the predicted image is saved to ``out`` (.npy)."""
    options = VARIANTS[variant]
    if options is not None:
        tune_allocator(size * size)
    generator = load_generator(model).eval()
    run: Callable[[torch.Tensor], torch.Tensor] = generator
    if options is not None:
        fused: Any = fuse(generator, *options)
        run = fused.forward_chunked if chunked else fused
        del generator
    x = generator_input(*noise(1, size))
    seconds = []
    for i in range(1 + max(1, min(5, 1024 // size))):
        started = time.perf_counter()
        result = run(x)
        if i:
            seconds.append(time.perf_counter() - started)
    np.save(Path(out), result.numpy())
    peak = peak_memory(torch.device("cpu")) / 2**20
    return {"seconds": statistics.median(seconds), "peak": peak}


if __name__ == "__main__":
    model, variant, size, chunked, out = sys.argv[1:]
    print(json.dumps(main(model, variant, int(size), chunked == "True", out)))

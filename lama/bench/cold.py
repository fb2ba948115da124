"""A cold start: `lama predict` of one picture, from the shell to the file, as processes of their own."""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from lama.bench.timing import noise
from lama.pictures.images import write_image
from lama.verbs import typed

_PACKAGE = Path(__file__).resolve().parents[2]


def bench_cold(*arguments: str) -> list[str]:
    """Medians of the seconds of whole processes, alternated: of the clock on the wall, and of the processor."""
    parser = argparse.ArgumentParser(f"{typed('bench')} cold", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="height and width of the picture")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--onnx", type=Path, help="also with this file of `lama export format=onnx`")
    parser.add_argument("--before", type=Path, help="also with the package in this other clone")
    options = parser.parse_args(arguments)
    if min(options.sizes) < 16 or options.rounds < 1:
        raise ValueError("bench cold: expected --sizes of at least 16 and --rounds of at least 1")
    for place, expected in ((options.onnx, ""), (options.before, "lama/__main__.py")):
        if place is not None and not (place / expected).is_file():
            raise FileNotFoundError(f"{place}: {'no clone of this project' if expected else 'no such file'}")
    seconds: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with TemporaryDirectory() as folder, tqdm(total=options.rounds * len(options.sizes), leave=False) as progress:
        for size in options.sizes:
            commands = _commands(Path(folder), size, options.onnx, options.before)
            for turn in range(-1, options.rounds):  # the first run may compile the kernels
                for name, command in sorted(commands.items(), reverse=turn % 2 == 0):
                    taken = _run(*command)
                    seconds.setdefault((name, size), []).extend([taken] if turn >= 0 else [])
                progress.update(turn >= 0)
    return _table(seconds, options.rounds)


def _commands(folder: Path, size: int, onnx: Path | None, before: Path | None) -> Mapping[str, tuple[list[str], Path]]:
    """{name: (arguments of Python, folder of the package)}"""
    image, mask = noise(1, size)
    write_image(folder / "image.png", (image[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    write_image(folder / "mask.png", mask[0, 0].numpy() > 0)
    files = [f"{key}={folder / key}.png" for key in ("image", "mask", "out")]
    predict = ["-m", "lama", "predict", *files, "overwrite=true"]
    commands = {
        "import torch": (["-c", "import torch"], _PACKAGE),
        "lama predict": (predict, _PACKAGE),
    }
    if onnx is not None:
        commands["lama predict, .onnx"] = [*predict, f"model.path={onnx.resolve()}"], _PACKAGE
    if before is not None:
        commands["lama predict, before"] = predict, before.resolve()
    return commands


def _run(arguments: list[str], package: Path) -> tuple[float, float]:
    """Seconds of a process on the wall and of the processor. Raises ValueError if it fails."""
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd="/")
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise ValueError(f"python {' '.join(arguments)}: {done.stderr.strip().splitlines()[-1:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _table(seconds: Mapping[tuple[str, int], list[tuple[float, float]]], rounds: int) -> list[str]:
    lines = [
        f"one picture with lama-small, from the shell to the file, medians of {rounds} alternated runs",
        "",
        "| process | size | seconds of the processor | of `lama predict`'s | seconds on the wall |",
        "|---|---|---|---|---|",
    ]
    for (name, size), runs in sorted(seconds.items(), key=lambda entry: entry[0][1]):
        ours = seconds["lama predict", size]
        ratio = statistics.median(cpu / other for (_, cpu), (_, other) in zip(runs, ours, strict=True))
        wall, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        lines.append(f"| {name} | {size} | {cpu:.2f} | {ratio:.2f} | {wall:.2f} |")
    return lines

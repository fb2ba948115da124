"""A training step on a CPU: the published computation, compared with ours at equal semantics and the modern recipe.

LaMa-Fourier with the HRF loss and random weights. ``official`` is eager and plain (``as_published``) in a process
without settings. Every variant is a process with a peak of memory of its own. All processes alternate step by step: a
change in the speed of the machine affects all of them. The share of an option is ``equal semantics`` with that option,
compared with ``equal semantics``; a part that has no option is removed.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from lama.bench.timing import times_as_fast
from lama.verbs import typed

Measured = dict[str, Any]
MAIN = ("official", "equal semantics", "modern fp32", "modern bf16")
SHARES = (
    "fake used twice", "frozen statistics", "averaged weights", "bf16", "accumulate=2", "recompute_blocks", "compiled",
    "without winograd", "without allocator", "without channels-last", "without merged FFC", "without fused Adam",
)  # fmt: skip
AT_ONCE = 3  # processes in addition to the baseline; each holds up to 3 GB


def bench_train(*arguments: str) -> list[str]:
    """Lines of a table. Raises ValueError if a process fails."""
    options = _parse(arguments)
    lines = [
        f"FFCResNetGenerator(ngf={options.ngf}, n_blocks={options.n_blocks}), crops of {options.size}, batch "
        f"{options.batch}; {options.rounds} rounds; {torch.get_num_threads()} threads, torch {torch.__version__}"
    ]
    main = [name for name in MAIN if name in options.variants]
    shares = [name for name in SHARES if name in options.variants]
    groups = [("official", [name for name in main if name != "official"])] if main else []
    groups += [("equal semantics", shares[i : i + AT_ONCE]) for i in range(0, len(shares), AT_ONCE)]
    for base, others in groups:
        lines += _compare(base, others, options)
    return lines


def _compare(base: str, others: Sequence[str], options: argparse.Namespace) -> list[str]:
    """One line for each variant. All processes are alive and alternate."""
    names = [base, *others]
    measured: dict[str, list[Measured]] = {name: [] for name in names}
    with ExitStack() as stack, tqdm(total=len(names) * (options.rounds + 1), desc=base, unit="step") as progress:
        workers: dict[str, subprocess.Popen[str]] = {}
        for round_ in range(options.rounds + 1):
            for name in names:
                progress.set_postfix_str(name)
                if round_ == 0:  # start one after the other; the first step is to warm up
                    workers[name] = stack.enter_context(_start(name, options))
                    stack.callback(workers[name].kill)
                measured[name].append(_step(workers[name], name, first=round_ == 0))
                progress.update()
    return [_line(name, base, {n: runs[1:] for n, runs in measured.items()}) for name in names]


def _start(name: str, options: argparse.Namespace) -> "subprocess.Popen[str]":
    worker = Path(__file__).with_name("train_worker.py")
    sizes = [str(getattr(options, key)) for key in ("size", "batch", "ngf", "n_blocks")]
    # -P: the worker's folder is not searched for modules
    command = [sys.executable, "-P", str(worker), name, *sizes]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _step(worker: "subprocess.Popen[str]", name: str, first: bool) -> Measured:
    assert worker.stdin
    assert worker.stdout
    assert worker.stderr
    try:
        if not first:
            print("step", file=worker.stdin, flush=True)
        return json.loads(worker.stdout.readline())
    except (BrokenPipeError, json.JSONDecodeError):
        worker.wait()
        reason = (worker.stderr.read().strip().splitlines() or [f"exit code {worker.returncode}"])[-1]
        raise ValueError(f"bench train, {name}: {reason}") from None


def _line(name: str, base: str, measured: dict[str, list[Measured]]) -> str:
    seconds = statistics.median(run["seconds"] for run in measured[name])
    peak = measured[name][-1]["peak"]
    line = f"{name:22} {seconds:7.2f} s {peak:6.0f} MB"
    if name == base:
        return line
    first, ours = ([run["seconds"] for run in measured[each]] for each in (base, name))
    memory = peak / measured[base][-1]["peak"]
    return f"{line}   {times_as_fast(first, ours, f' as {base}')}, {memory:.2f} of the memory"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(f"{typed('bench')} train", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=[*MAIN, *SHARES], default=[*MAIN, *SHARES])
    parser.add_argument("--size", type=int, default=256, help="side of the crops in pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--ngf", type=int, default=64, help="channels after the first convolution")
    parser.add_argument("--n-blocks", type=int, default=9, help="18 is Big LaMa")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.size < 64 or options.batch < 1:
        raise ValueError("bench train: expected --rounds and --batch of at least 1 and --size of at least 64")
    return options

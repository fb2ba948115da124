"""How fast is the device, does it wait for images, and does its memory agree with the rehearsal?"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lama.bench.predict import calibrated
from lama.bench.timing import noise
from lama.bench.train_worker import MODERN, OFFICIAL, build
from lama.conventions import generator_input
from lama.data import BuiltinPhotos, Distortions, InpaintingDataModule
from lama.fast.fuse import fuse
from lama.fast.graphs import record
from lama.gpu_check.row import Row, Setup, attempt
from lama.machine.device import float32
from lama.machine.waits import HostWaits
from lama.masks import Boxes
from lama.training.compiled import compile_generator
from lama.training.non_finite import Outcome
from lama.training.rehearse import rehearse_step

VARIANTS = {  # name: (autocast, TF32, torch.compile)
    "float32": (False, False, False),
    "TF32": (False, True, False),
    "bfloat16": (True, True, False),
    "bfloat16, compiled": (True, True, True),
}
LEAST, MOST = 0.8, 1.4  # measured memory, as a share of the rehearsed


def memory(setup: Setup) -> Iterator[Row]:
    """The peak of a training step beside the rehearsal's."""
    for name in ("float32", "bfloat16"):
        for batch in setup.batches[:2]:
            title = f"batch {batch}, {name}"
            yield attempt(title, partial(_memory, setup, title, name, batch))


def _memory(setup: Setup, title: str, name: str, batch: int) -> Row:
    bf16 = VARIANTS[name][0]
    rehearsed = rehearse_step(_module(setup), batch, (setup.crop, setup.crop), bf16).peak
    expected = f"{LEAST:g} to {MOST:g} times {rehearsed / 1e9:.2f} GB"
    if not setup.on_gpu:
        return Row(title, "needs a GPU", expected)
    setup.free()
    step = _stepper(setup, name, batch)
    step()
    step()
    measured = torch.cuda.max_memory_allocated(setup.device)
    return Row(title, f"{measured / 1e9:.2f} GB", expected, LEAST <= measured / rehearsed <= MOST)


def waits(setup: Setup) -> Iterator[Row]:
    """How often the host waits for the GPU in an update, beside the rehearsal."""
    for name, recipe in (("official", OFFICIAL), ("modern", MODERN)):
        yield attempt(f"recipe={name}", partial(_waits, setup, f"recipe={name}", recipe))


def _waits(setup: Setup, title: str, recipe: dict[str, Any]) -> Row:
    rehearsed = sum(rehearse_step(_module(setup, recipe), 2, (64, 64)).waits.values())
    expected = f"{rehearsed}, as rehearsed"
    if not setup.on_gpu:
        return Row(title, "needs a GPU", expected)
    step = _stepper(setup, "float32", 2, recipe)
    step()  # the first makes the optimisers' states
    with HostWaits() as seen:
        step()
    places = [f"{Path(place).name} ({count})" for place, count in seen.places.items()]
    return Row(title, f"{seen.places.total()} {', '.join(places)}", expected, seen.places.total() == rehearsed)


def training(setup: Setup) -> Iterator[Row]:
    """Images a second of ``recipe=modern``, and the operations a second beside a large matrix product's."""
    names = ["float32"] if setup.small else list(VARIANTS)
    for name in names:
        roof = _matrix_product(setup, name)
        for batch in setup.batches[1:2] if VARIANTS[name][2] else setup.batches:  # compiling takes a minute
            setup.free()
            title = f"batch {batch}, {name}"
            yield attempt(title, partial(_speed, setup, title, name, batch, roof))


def _speed(setup: Setup, title: str, name: str, batch: int, roof: float) -> Row:
    flops = rehearse_step(_module(setup), batch, (setup.crop, setup.crop)).flops
    step = _stepper(setup, name, batch)
    seconds = _seconds(setup, step, 1 if setup.small else 5)
    if fault := step().fault():
        raise ArithmeticError(fault)
    speed = f"{batch / seconds:.4g} images a second, {flops / seconds / 1e12:.3g} TFLOP/s"
    return Row(title, f"{speed}, {flops / seconds / roof:.0%} of a matrix product")


def _matrix_product(setup: Setup, name: str) -> float:
    """Operations a second of a square matrix product in the format of a variant: what the card can do at most."""
    autocast, tf32, _ = VARIANTS[name]
    side = 8192 if setup.on_gpu else 512
    a = torch.randn(side, side, device=setup.device, dtype=torch.bfloat16 if autocast else torch.float32)
    with float32(tf32):
        return 2 * side**3 / _seconds(setup, lambda: a @ a, 5)


def waiting(setup: Setup) -> Iterator[Row]:
    """Images a second that the workers of this machine deliver, beside the training's."""
    yield attempt("workers", partial(_waiting, setup))


def _waiting(setup: Setup) -> Row:
    workers, batch = (0 if setup.small else os.cpu_count() or 1), setup.batches[-1]
    boxes = Boxes(margin=2, min_size=8, max_size=30, min_times=1, max_times=4)
    data = InpaintingDataModule(BuiltinPhotos, "train", boxes, Distortions(setup.crop), boxes, val_path="held_out",
                                batch_size=batch, epoch_size=batch * (3 if setup.small else 40),
                                num_workers=workers)  # fmt: skip
    batches = iter(data.train_dataloader())
    for _ in range(1 if setup.small else 10):  # the workers start, and fill their queues and caches
        next(batches)
    began, count = time.perf_counter(), 0
    for _ in batches:
        count += batch
    delivered = count / (time.perf_counter() - began)
    needed = batch / _seconds(setup, _stepper(setup, "bfloat16" if setup.on_gpu else "float32", batch), 2)
    value = f"{delivered:.4g} images a second, workers={workers}"
    return Row("distortions, from the cache", value, f"at least {needed:.4g}, as trained",
               delivered >= needed if setup.on_gpu else None)  # fmt: skip


def prediction(setup: Setup) -> Iterator[Row]:
    """Seconds and memory of the network alone, one square image."""
    for precision in ("fp32", "bf16"):
        for side in setup.sides:
            setup.free()
            title = f"{side} x {side}, {precision}"
            yield attempt(title, partial(_prediction, setup, title, precision, side))


@torch.inference_mode()
def _prediction(setup: Setup, title: str, precision: str, side: int) -> Row:
    network = fuse(calibrated(**setup.network).to(setup.device), precision, compiled=False)
    x = generator_input(*noise(1, side)).to(setup.device)
    with float32():
        seconds = _seconds(setup, lambda: network(x), 1 if setup.small else 5)
        finite = bool(network(x).isfinite().all())
    peak = f", {torch.cuda.max_memory_allocated(setup.device) / 1e9:.2f} GB" if setup.on_gpu else ""
    return Row(title, f"{seconds:.3g} s{peak}", "finite", finite)


def graphs(setup: Setup) -> Iterator[Row]:
    """The same prediction from CUDA graphs: whether it equals the plain one, and how much faster it is."""
    for side in setup.sides[:2]:
        setup.free()
        title = f"{side} x {side}, CUDA graph"
        yield attempt(title, partial(_graphs, setup, title, side))


@torch.inference_mode()
def _graphs(setup: Setup, title: str, side: int) -> Row:
    if not setup.on_gpu:
        return Row(title, "needs a GPU", "equal")
    network = fuse(calibrated(**setup.network).to(setup.device), compiled=False)
    x = generator_input(*noise(1, side)).to(setup.device)
    with float32():
        replay = record(network, x)
        equal = torch.equal(replay(x), network(x))
        plain, recorded = (_seconds(setup, partial(run, x), 5) for run in (network, replay))
    return Row(title, f"{'equal' if equal else 'DIFFERENT'}, {plain / recorded:.2f} times as fast", "equal", equal)


def _module(setup: Setup, recipe: dict[str, Any] = MODERN) -> Any:
    return build(**setup.network, options=recipe | {"winograd": False})


def _stepper(setup: Setup, name: str, batch: int, recipe: dict[str, Any] = MODERN) -> Callable[[], Outcome]:
    """A function that trains on one batch, and does not wait for the device."""
    autocast, tf32, compiled = VARIANTS[name]
    module = _module(setup, recipe).to(setup.device)
    if compiled:
        compile_generator(module.generator)
    optimizers = module.configure_optimizers()
    data = {
        key: tensor.to(setup.device) for key, tensor in zip(("image", "mask"), noise(batch, setup.crop), strict=True)
    }

    def step() -> Outcome:
        block: AbstractContextManager[object] = nullcontext()
        if autocast:
            block = torch.autocast(setup.device.type, torch.bfloat16)
        with float32(tf32), block:
            return module.step(data, *optimizers)[1]

    return step


def _seconds(setup: Setup, run: Callable[[], object], times: int) -> float:
    """The median of ``times`` runs, after some to warm up."""
    seconds = []
    warm_up = 1 if setup.small else 3
    for _ in range(warm_up + times):
        setup.synchronize()
        began = time.perf_counter()
        run()
        setup.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[warm_up:])

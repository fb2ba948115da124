"""Does the device compute what the CPU computes? Networks, precisions, trainings."""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lama.bench.predict import calibrated
from lama.bench.timing import noise
from lama.bench.train_worker import MODERN, OFFICIAL, build
from lama.conventions import generator_input
from lama.fast.fuse import fuse
from lama.gpu_check.row import Row, Setup, attempt, below
from lama.inference import Inpainter
from lama.machine.device import float32
from lama.models import DilatedResNetGenerator, PatchDiscriminator, ResNetGenerator, SegmentationEncoder

FLOAT32 = 1e-4  # of the largest value: sums in another order
TF32 = 1e-2  # of the largest value: 10 bits
BF16 = 2e-2  # mean error of an image in [0, 1]
DOUBLE = 1e-6  # of a loss, after all steps in double precision
FIRST = 1e-3  # of a loss of the first step in float32
FIRST_BF16 = 0.1  # of a loss of the first step in bfloat16


def networks(setup: Setup) -> Iterator[Row]:
    """Every network in float32 with TF32 off: the largest error, relative to the largest value."""
    for name, network in _networks(setup).items():
        yield attempt(name, partial(_one_network, setup, name, network))


def _networks(setup: Setup) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    thin = setup.network
    return {
        "LaMa-Fourier": calibrated(**thin),
        "LaMa-Fourier, fused for prediction": calibrated(**thin),
        "LaMa-Regular": ResNetGenerator(**thin),
        "LaMa-Dilated": DilatedResNetGenerator(**thin),
        "discriminator": PatchDiscriminator(ndf=thin["ngf"]),
        "encoder of the HRF loss": SegmentationEncoder(),
    }


@torch.no_grad()
def _one_network(setup: Setup, name: str, network: nn.Module) -> Row:
    image, mask = noise(1, max(96, setup.crop))
    x = image if isinstance(network, PatchDiscriminator | SegmentationEncoder) else generator_input(image, mask)
    expected = _tensors(network.eval()(x))
    there: nn.Module = copy.deepcopy(network).to(setup.device)
    if name.endswith("prediction"):
        there = fuse(there, "fp32", compiled=False)
    with float32():
        found = _tensors(there(x.to(setup.device)))
    return below(name, max(_error(a, b) for a, b in zip(found, expected, strict=True)), FLOAT32)


def precisions(setup: Setup) -> Iterator[Row]:
    """What a faster format costs, of LaMa-Fourier's output."""
    yield attempt("TF32", partial(_tf32, setup))
    yield attempt("bfloat16", partial(_bf16, setup))
    yield attempt("bfloat16, training", partial(_bf16_step, setup))


@torch.no_grad()
def _tf32(setup: Setup) -> Row:
    network, x = calibrated(**setup.network).to(setup.device), _input(setup)
    with float32():
        expected = network(x)
    with float32(tf32=True):
        return below("TF32, largest error", _error(network(x), expected), TF32)


@torch.no_grad()
def _bf16(setup: Setup) -> Row:
    network, x = calibrated(**setup.network).to(setup.device), _input(setup)
    with float32():
        expected = network(x)
        drift = (fuse(network, "bf16", compiled=False)(x).float() - expected).abs().mean().item()
    return below("bfloat16, mean error of an image", drift, BF16)


def _bf16_step(setup: Setup) -> Row:
    expected, found = (_losses(setup.device, MODERN, torch.float32, 1, setup.side, bf16) for bf16 in (False, True))
    return below("bfloat16, largest relative error of a loss", _relative(found[0], expected[0]), FIRST_BF16)


def whole(setup: Setup) -> Iterator[Row]:
    """The whole way from a photograph to a result, beside the CPU: 8-bit steps, and whether known pixels are kept."""
    yield attempt("from image to image", partial(_whole, setup))


def _whole(setup: Setup) -> Row:
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (200, 300, 3), np.uint8), np.zeros((200, 300), bool)
    mask[80:130, 100:180] = True
    expected, found = (
        Inpainter(calibrated(**setup.network), str(device))(image, mask) for device in ("cpu", setup.device)
    )
    steps, kept = int(np.abs(found.astype(int) - expected).max()), np.array_equal(found[~mask], image[~mask])
    value = f"{steps} of 255, known pixels {'kept' if kept else 'CHANGED'}"
    return Row("from image to image", value, "at most 1 of 255, kept", steps <= 1 and kept)


def trainings(setup: Setup) -> Iterator[Row]:
    """Both recipes, step by step, beside the same training on the CPU: the largest relative error of a loss.

    In double precision rounding cannot grow, so an error there is a mistake.
    """
    for name, recipe in (("official", OFFICIAL), ("modern", MODERN)):
        title = f"recipe={name}, {setup.steps} step{'s' * (setup.steps > 1)} in double precision"
        yield attempt(title, partial(_training, setup, title, recipe, torch.float64, DOUBLE))
        if setup.small:
            continue
        title = f"recipe={name}, first step in float32"
        yield attempt(title, partial(_training, setup, title, recipe, torch.float32, FIRST))


def _training(setup: Setup, title: str, recipe: dict[str, Any], dtype: torch.dtype, limit: float) -> Row:
    steps = setup.steps if dtype == torch.float64 else 1
    expected, found = (
        _losses(device, recipe, dtype, steps, setup.side) for device in (torch.device("cpu"), setup.device)
    )
    worst = max(_relative(a, b) for a, b in zip(found, expected, strict=True))
    return below(title, worst, limit)


def _losses(
    device: torch.device, recipe: dict[str, Any], dtype: torch.dtype, steps: int, side: int, bf16: bool = False
) -> list[dict[str, float]]:
    module = build(4, 1, recipe | {"winograd": False}).to(device, dtype)
    generator_optimizer, discriminator_optimizer = module.configure_optimizers()
    image, mask = (tensor.to(device, dtype) for tensor in noise(2, side))
    losses = []
    for _ in range(steps):
        with float32(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logs, outcome = module.step({"image": image, "mask": mask}, generator_optimizer, discriminator_optimizer)
        if fault := outcome.fault():
            raise ArithmeticError(fault)
        losses.append({name: value.item() for name, value in logs.items()})
    return losses


def _input(setup: Setup) -> Tensor:
    return generator_input(*noise(1, max(96, setup.crop))).to(setup.device)


def _tensors(output: Any) -> list[Tensor]:
    """The tensors of a nested output."""
    if isinstance(output, Tensor):
        return [output]
    return [tensor for part in output for tensor in _tensors(part)]


def _error(found: Tensor, expected: Tensor) -> float:
    """The largest absolute difference, in units of the largest value."""
    expected = expected.double().cpu()
    return ((found.double().cpu() - expected).abs().max() / expected.abs().max()).item()


def _relative(found: dict[str, float], expected: dict[str, float]) -> float:
    names: Sequence[str] = list(expected)
    return max(abs(found[name] - expected[name]) / max(abs(expected[name]), 1e-3) for name in names)

"""One process of ``bench.train``: one variant, one step for every line on stdin; prints JSON."""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lama.bench.published import as_published, compute_plainly
from lama.bench.timing import noise
from lama.evaluation import Evaluator
from lama.losses import FeatureMatchingLoss, HRFPerceptualLoss, MaskedL1Loss, NonSaturatingAdversarialLoss, Objective
from lama.machine.allocator import tune_allocator
from lama.machine.memory import peak_memory
from lama.models import FFCResNetGenerator, PatchDiscriminator, SegmentationEncoder
from lama.training import InpaintingModule
from lama.training.module import MakeOptimizer

OFFICIAL = {"second_generator_forward": True, "hrf_batch_statistics": True, "winograd": True}
MODERN = {"second_generator_forward": False, "hrf_batch_statistics": False, "ema_decay": 0.999, "winograd": True}
VARIANTS: dict[str, dict[str, Any]] = {  # options of the recipe, and: published, tuned, bf16, without
    "official": {**OFFICIAL, "published": True, "tuned": False, "winograd": False},
    "equal semantics": OFFICIAL,
    "modern fp32": MODERN,
    "modern bf16": {**MODERN, "bf16": True},
    "fake used twice": {**OFFICIAL, "second_generator_forward": False},
    "frozen statistics": {**OFFICIAL, "hrf_batch_statistics": False},
    "averaged weights": {**OFFICIAL, "ema_decay": 0.999},
    "bf16": {**OFFICIAL, "bf16": True},
    "accumulate=2": {**OFFICIAL, "second_generator_forward": False, "accumulate": 2},
    "recompute_blocks": {**OFFICIAL, "recompute_blocks": True},
    "compiled": {**OFFICIAL, "compiled": True},
    "without winograd": {**OFFICIAL, "winograd": False},
    "without allocator": {**OFFICIAL, "tuned": False},
    "without channels-last": {**OFFICIAL, "without": "channels_last"},
    "without merged FFC": {**OFFICIAL, "without": "merged_ffc"},
    "without fused Adam": {**OFFICIAL, "without": "fused_adam"},
}


def build(ngf: int, n_blocks: int, options: dict[str, Any]) -> InpaintingModule:
    """LaMa-Fourier with the published objective; all networks have random weights."""
    torch.manual_seed(0)
    recipe = dict(options)
    without, published = recipe.pop("without", None), recipe.pop("published", False)
    encoder = SegmentationEncoder()
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    objective = Objective(
        l1=MaskedL1Loss(),
        adversarial=NonSaturatingAdversarialLoss(),
        feature_matching=FeatureMatchingLoss(),
        resnet_pl=HRFPerceptualLoss(encoder=encoder, batch_statistics=recipe.pop("hrf_batch_statistics")),
    )
    adam = partial(torch.optim.Adam, fused=without != "fused_adam")
    optimizers: dict[str, MakeOptimizer] = {
        "generator": partial(adam, lr=1e-3),
        "discriminator": partial(adam, lr=1e-4),
    }
    generator = FFCResNetGenerator(ngf=ngf, n_blocks=n_blocks)
    module = InpaintingModule(generator, PatchDiscriminator(), objective, Evaluator(["l1"]), optimizers, **recipe)
    if published:
        as_published(module)
    elif without == "merged_ffc":
        compute_plainly(module.generator)
    elif without == "channels_last":
        module.use_memory_format(torch.contiguous_format)
    return module.train()


def stepper(variant: str, size: int, batch: int, ngf: int, n_blocks: int) -> Callable[[], dict[str, Tensor]]:
    """A function that trains on one batch."""
    options = dict(VARIANTS[variant])
    bf16 = options.pop("bf16", False)
    if options.pop("tuned", True):
        tune_allocator(size * size)
    module = build(ngf, n_blocks, options)
    generator_optimizer, discriminator_optimizer = module.configure_optimizers()
    module.configure_model()
    data = dict(zip(("image", "mask"), noise(batch, size), strict=True))

    def step() -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logs, outcome = module.step(data, generator_optimizer, discriminator_optimizer)
        if fault := outcome.fault():
            raise ValueError(fault)
        return logs

    return step


def main(variant: str, *sizes: str) -> None:
    """Train on noise: one line of JSON per step, the first of which is to warm up."""
    step = stepper(variant, *map(int, sizes))
    line: str | None = "first"
    while line:
        started = time.perf_counter()
        logs = step()
        seconds = time.perf_counter() - started
        peak = peak_memory(torch.device("cpu")) / 2**20
        losses = {name: value.item() for name, value in logs.items()}
        print(json.dumps({"seconds": seconds, "peak": peak, "losses": losses}), flush=True)
        line = sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])

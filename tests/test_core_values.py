"""The core against values stored in core_values.json, so that a clone without reference data still proves itself.

The values are those of this code at a time when it passed test_parity.py, which compares the same networks, losses and
training steps with the official implementation. ``python tests/test_core_values.py`` writes the file anew; do that only
where test_parity.py passes.
"""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from formula import fill, formula_image, formula_mask

from lama.conventions import generator_input
from lama.evaluation import Evaluator
from lama.interfaces import StepContext
from lama.losses import (
    FeatureMatchingLoss,
    HRFPerceptualLoss,
    MaskedL1Loss,
    NonSaturatingAdversarialLoss,
    Objective,
    VGGPerceptualLoss,
)
from lama.models import (
    DilatedResNetGenerator,
    FFCResNetGenerator,
    PatchDiscriminator,
    ResNetGenerator,
    SegmentationEncoder,
    VGG19Features,
)
from lama.training import InpaintingModule

FILE = Path(__file__).with_name("core_values.json")
GENERATORS = {
    "LaMa-Fourier": (partial(FFCResNetGenerator, ngf=8, n_blocks=2), 1.2),
    "LaMa-Fourier, LFU": (partial(FFCResNetGenerator, ngf=8, n_blocks=2, enable_lfu=True), 1.2),
    "LaMa-Fourier, half global": (partial(FFCResNetGenerator, ngf=8, n_blocks=1, ratio=0.5), 1.2),
    "LaMa-Regular": (partial(ResNetGenerator, ngf=8, n_blocks=2), 1.3),
    "LaMa-Dilated": (partial(DilatedResNetGenerator, ngf=8, n_blocks=2), 1.0),
}


def generator_values(name):
    """Eight pixels in eval mode; the norm of all gradients and the sum of all buffers after training mode."""
    build, gain = GENERATORS[name]
    network = fill(build(), gain=gain).eval()
    x = generator_input(formula_image(1, 2, 3, 80, 96), formula_mask(1, 2, 80, 96))
    with torch.no_grad():
        pixels = network(x).flatten()[:: 2 * 3 * 80 * 96 // 8]
    (network.train()(x) * formula_image(10, 2, 3, 80, 96)).sum().backward()
    gradient = torch.stack([p.grad.norm() for p in network.parameters()]).norm()
    statistics = sum(b.double().sum() for b in network.buffers())
    return {"pixels": pixels.tolist(), "gradient norm": gradient.item(), "statistics": statistics.item()}


def context(discriminator):
    image, fake = formula_image(4, 3, 3, 64, 64).requires_grad_(), formula_image(5, 3, 3, 64, 64)
    (real_logits, real_features), (fake_logits, fake_features) = discriminator(image), discriminator(fake)
    mask = formula_mask(4, 3, 64, 64)
    return StepContext(image, mask, fake, real_logits, fake_logits, real_features, fake_features)


def loss_values():
    step = context(fill(PatchDiscriminator(ndf=8)).train())
    adversarial = NonSaturatingAdversarialLoss()
    terms = {
        "L1": MaskedL1Loss(10, 0),
        "adversarial": adversarial,
        "feature matching": FeatureMatchingLoss(),
        "feature matching, known": FeatureMatchingLoss(known_only=True),
        "HRF": HRFPerceptualLoss(30, encoder=fill(SegmentationEncoder())).train(),
        "HRF, batch statistics": HRFPerceptualLoss(
            30, batch_statistics=True, encoder=fill(SegmentationEncoder())
        ).train(),
        "HRF, plain": HRFPerceptualLoss(30, encoder=fill(SegmentationEncoder(dilated=False))).train(),
        "VGG19": VGGPerceptualLoss(encoder=fill(VGG19Features())),
    }
    values = {name: term(step).item() for name, term in terms.items()}
    loss, parts = adversarial.discriminator_loss(step)
    return values | {"discriminator": loss.item()} | {name: value.item() for name, value in parts.items()}


def step_values():
    """The logs of two steps of the official recipe."""
    module = InpaintingModule(
        fill(FFCResNetGenerator(ngf=8, n_blocks=2), gain=1.2),
        fill(PatchDiscriminator(ndf=8)),
        Objective(l1=MaskedL1Loss(10, 0), adv=NonSaturatingAdversarialLoss(), fm=FeatureMatchingLoss()),
        Evaluator(["l1"]),
        {"generator": partial(torch.optim.Adam, lr=1e-3), "discriminator": partial(torch.optim.Adam, lr=1e-4)},
    ).train()
    optimizers = module.configure_optimizers()
    logs = {}
    for i in range(2):
        batch = {"image": formula_image(20 + i, 3, 3, 64, 64), "mask": formula_mask(20 + i, 3, 64, 64)}
        logs = {name: value.item() for name, value in module.step(batch, *optimizers)[0].items()}
    return logs


@pytest.fixture(scope="module")
def stored():
    return json.loads(FILE.read_text())


@pytest.mark.parametrize("name", GENERATORS)
def test_generators(stored, name):
    values, expected = generator_values(name), stored[name]
    assert values["pixels"] == pytest.approx(expected["pixels"], abs=1e-5)
    assert values["gradient norm"] == pytest.approx(expected["gradient norm"], rel=1e-3)
    assert values["statistics"] == pytest.approx(expected["statistics"], rel=1e-4)


def test_losses(stored):
    assert loss_values() == pytest.approx(stored["losses"], rel=1e-4)


def test_training_steps(stored):
    assert step_values() == pytest.approx(stored["two steps"], rel=2e-3)


if __name__ == "__main__":
    values = {name: generator_values(name) for name in GENERATORS}
    FILE.write_text(json.dumps(values | {"losses": loss_values(), "two steps": step_values()}, indent=1) + "\n")

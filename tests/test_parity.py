"""Equality with the official implementation, on numbers computed with it (../shared/parity; skipped without)."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from budget import within
from formula import fill, formula_image, formula_mask

from lama.bench.published import as_published
from lama.conventions import generator_input
from lama.evaluation import Evaluator
from lama.fast import trained_winograd as winograd
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


@pytest.fixture(scope="module")
def parity(shared):
    return shared / "parity"


def formula_generator(case):
    kind = {"ffc": FFCResNetGenerator, "regular": ResNetGenerator, "dilated": DilatedResNetGenerator}[case["kind"]]
    options = {name: case[name] for name in ("ngf", "n_blocks", "ratio", "enable_lfu") if name in case}
    return fill(kind(**options), case["seed"], case["gain"])


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ffc_small", "small"),
        ("ffc_ratio50", "small"),
        ("ffc_lfu", "small"),
        ("regular_small", "small"),
        ("dilated_small", "small"),
        ("lama_fourier", "published size"),
        pytest.param("big_lama", "published size", marks=pytest.mark.slow),
    ],
)
def test_generator_output_in_eval_mode(parity, name, size):
    case = json.loads((parity / "cases.json").read_text())[name]
    network = formula_generator(case).eval()
    with np.load(parity / "generators.npz") as expected, torch.no_grad():
        for i, (batch, height, width) in enumerate(case["sizes"]):
            image, mask = formula_image(1 + i, batch, 3, height, width), formula_mask(1 + i, batch, height, width)
            output = network(generator_input(image, mask))
            within(f"network, {size}", output, expected[f"{name}/eval{i}"])


@pytest.mark.parametrize("case_name", ["ffc_small", "regular_small", "dilated_small"])
def test_generator_gradients_and_batch_statistics_in_train_mode(parity, case_name):
    case = json.loads((parity / "cases.json").read_text())[case_name]
    network = formula_generator(case).train()
    batch, height, width = case["sizes"][0]
    output = network(generator_input(formula_image(9, batch, 3, height, width), formula_mask(9, batch, height, width)))
    with np.load(parity / "generators.npz") as expected:
        within("network, small", output, expected[f"{case_name}/train_out"])
    (output * formula_image(10, *output.shape)).sum().backward()
    norms = {name: p.grad.norm().item() for name, p in network.named_parameters()}
    within("gradient of the generator", norms, case["grad_norms"])  # biases before a BatchNorm have only rounding
    sums = {name: network.state_dict()[name].sum() for name in case["bn_after"]}
    within("statistics of BatchNorm", sums, case["bn_after"])


@pytest.mark.parametrize("name", ["small", "full"])
def test_discriminator_logits_and_features(parity, name):
    case = json.loads((parity / "cases.json").read_text())["discriminator"][name]
    network = fill(PatchDiscriminator(ndf=case["ndf"], n_layers=case["n_layers"]), case["seed"], case["gain"]).eval()
    batch, height, width = case["size"]
    with np.load(parity / "discriminator.npz") as expected, torch.no_grad():
        logits, features = network(formula_image(case["image_seed"], batch, 3, height, width))
        within("logits and features", logits, expected[f"{name}/logits"])
        within("logits and features", [f.mean().item() for f in features], case["feat_means"])
        for i, feature in enumerate(features if name == "small" else []):
            within("logits and features", feature, expected[f"{name}/feat{i}"])


@pytest.fixture
def losses(parity):
    return json.loads((parity / "losses.json").read_text())


@pytest.fixture
def step():
    """A step's context on formula inputs, and the discriminator behind it, in train mode as in a training."""
    discriminator = fill(PatchDiscriminator(ndf=8)).train()
    image = formula_image(4, 3, 3, 64, 64).requires_grad_()
    fake = formula_image(5, 3, 3, 64, 64)
    real_logits, real_features = discriminator(image)
    fake_logits, fake_features = discriminator(fake)
    mask = formula_mask(4, 3, 64, 64)
    return StepContext(image, mask, fake, real_logits, fake_logits, real_features, fake_features), discriminator


@pytest.mark.parametrize("index", range(4))
def test_adversarial_losses_and_gradients(losses, step, index):
    expected = losses["adversarial"][index]
    flags = {"mask_as_fake_target": False} | expected["flags"]
    del flags["allow_scale_mask"]  # ours always brings the mask to the grid of the logits
    term, (context, discriminator) = NonSaturatingAdversarialLoss(**flags), step
    loss, logs = term.discriminator_loss(context)
    key = "adversarial loss, R1, their gradient"
    within(key, loss, expected["disc_loss"])
    within(key, term(context), expected["gen_loss"])
    within(key, {name: logs[name.removeprefix("discr_")] for name in expected["metrics"]}, expected["metrics"])
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in discriminator.parameters()]).norm()
    within(key, norm, expected["disc_grad_norm"])


def test_feature_matching(losses):
    # these two numbers were made with the discriminator in eval mode
    discriminator = fill(PatchDiscriminator(ndf=8)).eval()
    image, fake, mask = formula_image(4, 3, 3, 64, 64), formula_image(5, 3, 3, 64, 64), formula_mask(4, 3, 64, 64)
    context = StepContext(image, mask, fake, *_pairwise(discriminator(image), discriminator(fake)))
    expected = losses["feature_matching"]
    within("feature matching", FeatureMatchingLoss(weight=1)(context), expected["plain"])
    within("feature matching", FeatureMatchingLoss(weight=1, known_only=True)(context), expected["masked"])


def _pairwise(real, fake):
    return real[0], fake[0], real[1], fake[1]


def test_l1(losses, step):
    for name, expected in losses["l1"].items():
        known, missing = map(float, name.split("_"))
        within("L1 loss", MaskedL1Loss(known, missing)(step[0]), expected)


@pytest.mark.parametrize(("batch_statistics", "key"), [(False, "eval_mode"), (True, "batch_stat_mode")])
def test_hrf_perceptual(losses, step, batch_statistics, key):
    context = step[0]
    context.predicted = context.predicted.requires_grad_()
    encoder = fill(SegmentationEncoder())
    term = HRFPerceptualLoss(30, batch_statistics=batch_statistics, encoder=encoder).train()
    loss = term(context)
    within("perceptual losses (HRF, VGG)", loss, losses["hrf_pl"][key])
    if not batch_statistics:
        (gradient,) = torch.autograd.grad(loss, context.predicted)
        within("perceptual losses (HRF, VGG)", gradient.norm(), losses["hrf_pl"]["grad_norm_wrt_prediction"])
        assert [list(f.shape) for f in term.encode(context.image)] == losses["hrf_pl"]["feature_shapes"]


def test_vgg_perceptual(losses, step):
    context, term = step[0], VGGPerceptualLoss(1, encoder=fill(VGG19Features()))
    whole = term.per_image(context.predicted, context.image)
    within("perceptual losses (HRF, VGG)", whole, losses["vgg_pl"]["no_mask"])
    known = term.per_image(context.predicted, context.image, context.mask)
    within("perceptual losses (HRF, VGG)", known, losses["vgg_pl"]["masked"])


@pytest.mark.parametrize(
    ("file", "network"),
    [
        ("keys_lama_fourier_generator.txt", FFCResNetGenerator),
        ("keys_big_lama_generator.txt", partial(FFCResNetGenerator, n_blocks=18)),
        ("keys_lama_regular_generator.txt", ResNetGenerator),
        ("keys_multidilated_generator.txt", DilatedResNetGenerator),
        ("keys_discriminator.txt", PatchDiscriminator),
        ("../parity/ade20k_encoder_keys.txt", SegmentationEncoder),
        ("../parity/ade20k_encoder_keys.txt", partial(SegmentationEncoder, dilated=False)),
    ],
)
def test_state_dict_keys_and_shapes(shared, file, network):
    lines = (shared / "reference" / file).read_text().splitlines()
    expected = {key: shape for key, _, shape in (line.partition(" ") for line in lines if line.strip())}
    state = network().state_dict()
    assert {key: str(tuple(value.shape)) for key, value in state.items()} == expected


# Biases in front of a BatchNorm have no gradient but rounding, which Adam turns into steps of full size; the means that
# take them up follow. No two machines agree on these.
ROUNDING_ONLY = {f"model.{i}.bias" for i in (8, 11, 14)} | {f"model.{i}.running_mean" for i in (9, 12, 15)}


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("variant", ["no_perceptual", "hrf_eval_bn"])
def test_four_training_steps_of_the_official_recipe(parity, monkeypatch, variant, plain):
    """The first step to 1e-4, the others to 1e-2 and norms to 1e-3, by the plain computation, as published.

    So does what we train with, but for norms with the HRF loss: it rounds otherwise, and Adam turns the sign of a
    rounding error into a step of full size (and twice as much for what is nothing but rounding, ``ROUNDING_ONLY``: it
    differs from one kind of CPU to the next). There the plain computation on two threads in place of one, or in double
    precision, is itself 0.35 % from the stored norms; ``test_the_step_is_the_published_one`` compares in double. The
    stored values come from a CPU with AVX-512: one without rounds otherwise, and is 1.7 % away in one loss of the
    fourth step with HRF, and 0.11 % in one norm.
    """
    monkeypatch.setattr(winograd, "FEWEST", 1)  # these networks are narrow
    expected = json.loads((parity / "training_steps.json").read_text())[variant]
    same_rounding = variant == "no_perceptual" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    norms = 1e-3 if (plain or variant == "no_perceptual") and same_rounding else 5e-3
    rounding = 1e-2 if plain else 2e-2
    later = 1e-2 if same_rounding else 3e-2
    names = {"l1": MaskedL1Loss(10, 0), "adv": NonSaturatingAdversarialLoss(), "fm": FeatureMatchingLoss()}
    if variant == "hrf_eval_bn":
        names["resnet_pl"] = HRFPerceptualLoss(30, encoder=fill(SegmentationEncoder()))
    module = InpaintingModule(
        fill(FFCResNetGenerator(ngf=8, n_blocks=2), gain=1.2),
        fill(PatchDiscriminator(ndf=8)),
        Objective(**names),
        Evaluator(["l1"]),
        {"generator": partial(torch.optim.Adam, lr=1e-3), "discriminator": partial(torch.optim.Adam, lr=1e-4)},
        winograd=not plain,
    ).train()
    if plain:
        as_published(module)
    optimizers = module.configure_optimizers()
    for i, step_losses in enumerate(expected["steps"]):
        batch = {"image": formula_image(20 + i, 3, 3, 64, 64), "mask": formula_mask(20 + i, 3, 64, 64)}
        logs, _ = module.step(batch, *optimizers)
        for name, value in step_losses.items():
            ours = name.removeprefix("train_").replace("adv_discr", "discr").replace("discr_adv", "discr_total")
            if i == 0:
                within("losses of the first step", logs[ours], value)
            assert logs[ours].item() == pytest.approx(value, rel=later), (i, name)
    for network, key in ((module.generator, "gen_param_norms"), (module.discriminator, "disc_param_norms")):
        state = network.state_dict()
        for name, norm in expected[key].items():
            tolerance = rounding if name in ROUNDING_ONLY else norms
            assert state[name].double().norm().item() == pytest.approx(norm, rel=tolerance), name

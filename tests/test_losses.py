"""Loss terms: their equations on small numbers, and the shapes of the house."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lama.interfaces import StepContext
from lama.losses import (
    FeatureMatchingLoss,
    HRFPerceptualLoss,
    LPIPSLoss,
    MaskedL1Loss,
    NonSaturatingAdversarialLoss,
    Objective,
    VGGPerceptualLoss,
)
from lama.losses.adversarial import r1_penalty
from lama.losses.mean_square import MeanSquare
from lama.models import PatchDiscriminator


class Encoder(nn.Module):
    """A small stand-in for a pretrained encoder."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        return [self.bn(self.conv(x))]


def context(same=False):
    torch.manual_seed(0)
    image = torch.rand(2, 3, 16, 16)
    predicted = image.clone() if same else torch.rand(2, 3, 16, 16)
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, :8] = 1
    real, fake = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    features = [torch.rand(2, 5, 4, 4)]
    return StepContext(
        image, mask, predicted.requires_grad_(), real, fake, features, features if same else [f + 1 for f in features]
    )


TERMS = {
    "l1": lambda: MaskedL1Loss(10, 6),
    "feature matching": lambda: FeatureMatchingLoss(100),
    "hrf": lambda: HRFPerceptualLoss(30, encoder=Encoder()),
    "vgg": lambda: VGGPerceptualLoss(0.03, encoder=Encoder()),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_zero_where_prediction_is_target(name):
    assert TERMS[name]()(context(same=True)).item() == 0


@pytest.mark.parametrize("name", [*TERMS, "adversarial"])
def test_a_term_is_a_finite_scalar_with_a_finite_gradient(name):
    c = context()
    c.fake_logits = c.predicted.mean() * torch.ones(2, 1, 4, 4)
    c.fake_features = [c.predicted.mean() * torch.ones(2, 5, 4, 4)]
    loss = (TERMS | {"adversarial": NonSaturatingAdversarialLoss})[name]()(c)
    loss.backward()
    assert loss.shape == ()
    assert c.predicted.grad.isfinite().all()
    assert c.predicted.grad.abs().sum() > 0


def test_l1_weights_known_and_missing_pixels():
    c = context()
    error = (c.predicted - c.image).abs()
    expected = (10 * error[:, :, 8:].sum() + 6 * error[:, :, :8].sum()) / error.numel()
    torch.testing.assert_close(MaskedL1Loss(10, 6)(c), expected)


def test_discriminator_targets_are_fake_in_the_hole_only():
    c = context()
    loss, _ = NonSaturatingAdversarialLoss(gp_coef=0).discriminator_loss(c)
    in_hole = torch.zeros(2, 1, 4, 4)
    in_hole[:, :, :2] = 1
    labels_fake = F.binary_cross_entropy_with_logits(c.fake_logits, 1 - in_hole)
    labels_real = F.binary_cross_entropy_with_logits(c.real_logits, torch.ones_like(c.real_logits))
    torch.testing.assert_close(loss, labels_real + labels_fake)


def test_maxpool_makes_a_patch_fake_that_touches_the_hole():
    c = context()
    c.mask = torch.zeros(2, 1, 16, 16)
    c.mask[:, :, 1, 1] = 1  # nearest samples pixel (0, 0) of the first patch and misses it
    nearest, _ = NonSaturatingAdversarialLoss(gp_coef=0).discriminator_loss(c)
    maxpool, _ = NonSaturatingAdversarialLoss(gp_coef=0, mask_scale_mode="maxpool").discriminator_loss(c)
    difference = (F.softplus(c.fake_logits) - F.softplus(-c.fake_logits))[:, :, 0, 0].sum() / 32
    torch.testing.assert_close(maxpool - nearest, difference)


def test_r1_is_the_squared_gradient_norm():
    image = torch.rand(2, 3, 4, 4, requires_grad=True)
    logits = (3 * image).sum(dim=(1, 2, 3)).view(2, 1, 1, 1)
    assert r1_penalty(logits, image).item() == pytest.approx(9 * 48)


def test_r1_is_zero_without_gradients():
    with torch.no_grad():
        assert r1_penalty(torch.ones(1, 1, 1, 1), torch.rand(1, 3, 4, 4)).item() == 0


def test_r1_reaches_the_discriminators_parameters():
    discriminator = PatchDiscriminator(ndf=4, n_layers=1)
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    r1_penalty(discriminator(image)[0], image).backward()
    assert discriminator.model0[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_unmasked_for_gen": False}, "use_unmasked_for_discr.* use_unmasked_for_gen"),
        (
            {"use_unmasked_for_gen": False, "use_unmasked_for_discr": False},
            "mask_as_fake_target.* use_unmasked_for_discr",
        ),
        ({"extra_mask_weight_for_gen": 3, "mask_as_fake_target": False}, "extra_mask_weight_for_gen=3.*mask_as_fake"),
        ({"mask_scale_mode": "bicubic"}, "mask_scale_mode: .*nearest.*maxpool.*bicubic"),
    ],
)
def test_adversarial_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        NonSaturatingAdversarialLoss(**options)


def test_objective_sums_its_terms_and_names_them():
    c = context()
    objective = Objective(l1=MaskedL1Loss(1, 1), fm=FeatureMatchingLoss(2), gone=None)
    total, logs = objective.generator_loss(c)
    assert set(logs) == {"gen_l1", "gen_fm"}
    assert total.item() == pytest.approx(sum(v.item() for v in logs.values()))


def test_objective_without_an_adversary_asks_nothing_of_the_discriminator():
    loss, _ = Objective(l1=MaskedL1Loss()).discriminator_loss(context())
    assert loss.item() == 0
    assert not loss.requires_grad


def test_objective_without_terms_is_an_error():
    with pytest.raises(ValueError, match=r"losses: .*weight 0"):
        Objective(l1=None)


def test_frozen_encoder_is_in_no_checkpoint_and_no_optimiser():
    term = HRFPerceptualLoss(30, encoder=Encoder())
    assert not term.state_dict()
    assert not list(term.parameters())


def test_frozen_encoder_moves_with_its_owner():
    term = HRFPerceptualLoss(30, encoder=Encoder()).double()
    assert term.encoder.network.conv.weight.dtype == torch.float64


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_hrf_batchnorm_uses_batch_statistics_in_training_only_when_asked(batch_statistics):
    term = HRFPerceptualLoss(30, encoder=Encoder(), batch_statistics=batch_statistics)
    assert term.train().encoder.network.bn.training == batch_statistics
    assert not term.eval().encoder.network.bn.training


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 4e-3)]
)
def test_the_mean_square_of_features_and_its_gradient(dtype, tolerance):
    torch.manual_seed(0)
    x, target = (torch.randn(2, 300, 9, 9).to(dtype).requires_grad_() for _ in range(2))
    loss = MeanSquare.apply(x, target)
    expected = F.mse_loss(x.double(), target.double())
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert loss.item() == pytest.approx(expected.item(), rel=min(tolerance, 1e-4))
    got, right = (torch.autograd.grad(value, x)[0] for value in (3 * loss, 3 * expected))
    torch.testing.assert_close(got, right, rtol=4 * tolerance, atol=1e-9)  # rounded up to three times


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory):
    """The lpips package's network with a random SqueezeNet, and the file of the same."""
    import lpips

    torch.manual_seed(0)
    network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval()
    file = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save(network.state_dict(), file)
    return network, str(file)


def hole_of_64(seed=0):
    torch.manual_seed(seed)
    image, predicted, mask = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    mask[:, :, 10:40, 20:] = 1
    empty = torch.zeros(2, 1, 4, 4)
    return StepContext(image, mask, predicted.requires_grad_(), empty, empty)


def test_the_lpips_loss_is_the_packages_distance_of_the_composite(squeeze):
    network, file = squeeze
    c = hole_of_64()
    completed = c.mask * c.predicted + (1 - c.mask) * c.image
    expected = 5 * network(completed, c.image, normalize=True).mean()
    torch.testing.assert_close(LPIPSLoss(5, "squeeze", file)(c), expected, rtol=1e-5, atol=0)


def test_the_lpips_loss_pulls_at_the_hole_only_and_at_nothing_frozen(squeeze):
    c, loss = hole_of_64(), LPIPSLoss(5, "squeeze", squeeze[1])
    loss(c).backward()
    assert c.predicted.grad.isfinite().all()
    assert (c.predicted.grad * c.mask).abs().sum() > 0
    assert (c.predicted.grad * (1 - c.mask)).abs().sum() == 0
    assert not list(loss.parameters())
    assert not loss.state_dict()


def test_the_lpips_loss_is_zero_where_prediction_is_target_with_a_finite_gradient(squeeze):
    c = hole_of_64()
    c.predicted = torch.zeros_like(c.image).requires_grad_()  # black: features may be zero, whose length has no slope
    c.image = c.predicted.detach().clone()
    loss = LPIPSLoss(5, "squeeze", squeeze[1])(c)
    loss.backward()
    assert loss == 0
    assert c.predicted.grad.isfinite().all()


def test_the_lpips_loss_in_bfloat16_is_nearly_the_same(squeeze):
    c, loss = hole_of_64(), LPIPSLoss(5, "squeeze", squeeze[1])
    exact = loss(c)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss(c)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0)

"""Options for speed and memory compute the same as the plain step, or differ by a known amount."""

import copy
from functools import partial

import pytest
import torch
from budget import within
from formula import fill, formula_image
from pytorch_lightning import Trainer
from trainings import TRAINER, a_batch, fit, in_double, make_module, run_into, steps

from lama.bench import bench_train
from lama.bench.published import as_published
from lama.interfaces import StepContext
from lama.losses import FeatureMatchingLoss, HRFPerceptualLoss
from lama.machine import allocator
from lama.models import DilatedResNetGenerator, FFCResNetGenerator, ResNetGenerator, SegmentationEncoder
from lama.training import compiled as compiled_module
from lama.training.recompute import recompute_blocks


@pytest.mark.parametrize("recipe", [{}, {"second_generator_forward": False}])
def test_the_step_is_the_published_one(recipe):
    """In double precision, where rounding cannot grow."""
    ours, plain = (make_module(**recipe).double() for _ in range(2))
    as_published(plain)
    batches = [in_double(a_batch(i)) for i in range(3)]
    (logs, state), (plain_logs, plain_state) = steps(ours, batches), steps(plain, batches)
    within("losses of our step, in double", logs, plain_logs)
    for name, value in state.items():
        torch.testing.assert_close(value, plain_state[name], rtol=1e-6, atol=1e-9, msg=name)


def gradients(module):
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_discriminator_pass_gives_the_gradients_of_two(accumulate, monkeypatch):
    recipe = {"second_generator_forward": False, "clip_norm": 1e9}
    module, plain = make_module(accumulate=accumulate, **recipe).double(), make_module(**recipe).double()
    batch, calls = in_double(a_batch()), []
    forward = module.discriminator.forward
    monkeypatch.setattr(module.discriminator, "forward", lambda x: calls.append(x) or forward(x))
    for network in (module, plain):
        network.make_optimizers = {name: partial(torch.optim.SGD, lr=0.0) for name in network.make_optimizers}
    for _ in range(accumulate):
        steps(module, [batch])
    assert len(calls) == 2 * accumulate  # the image, and the fake

    fake = plain.train()._predict(batch)
    image = batch["image"].clone().requires_grad_()
    for loss_of, predicted, network in (
        (plain.objective.generator_loss, fake, plain.generator),
        (plain.objective.discriminator_loss, fake.detach(), plain.discriminator),
    ):
        loss, _ = loss_of(plain._discriminate(image, batch["mask"], predicted))
        for p, gradient in zip(
            network.parameters(), torch.autograd.grad(loss, list(network.parameters())), strict=True
        ):
            p.grad = gradient
    expected = gradients(plain)
    assert list(gradients(module)) == list(expected)
    for name, gradient in gradients(module).items():
        within("gradients of one discriminator pass", gradient, expected[name])


def test_images_and_weights_are_channels_last_from_end_to_end():
    module, seen = make_module(), []
    for layer in (*module.generator.model, *module.discriminator.children()):
        layer.register_forward_hook(lambda _, __, out: seen.append(out))
    steps(module, [a_batch()])
    tensors = [t for out in seen for t in (out if isinstance(out, tuple) else [out]) if t is not None]
    assert len(tensors) > 20
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in tensors)


@pytest.mark.parametrize("dilated", [True, False])
def test_a_folded_encoder_has_the_same_features_and_gradients(dilated):
    encoder = fill(SegmentationEncoder(dilated)).eval().requires_grad_(False).double()
    folded = encoder.folded()
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in encoder.modules())
    gradients = []
    image = formula_image(0, 1, 3, 64, 64).double()
    for network in (encoder, folded):
        x = image.clone().requires_grad_()
        features = network(x)
        gradients.append(torch.autograd.grad(sum(f.square().mean() for f in features), x)[0])
    torch.testing.assert_close(folded(image), encoder(image), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-9)


def test_the_hrf_loss_folds_where_statistics_are_frozen_only():
    def norms(batch_statistics):
        term = HRFPerceptualLoss(encoder=fill(SegmentationEncoder()), batch_statistics=batch_statistics)
        return sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in term.encoder.network.modules())

    assert norms(batch_statistics=False) == 0
    assert norms(batch_statistics=True) > 50


def test_the_target_of_the_hrf_loss_has_no_graph():
    term = HRFPerceptualLoss(encoder=fill(SegmentationEncoder()))
    image, predicted = (formula_image(i, 1, 3, 32, 32).requires_grad_() for i in range(2))
    none = torch.zeros(1, 1, 2, 2)
    term(StepContext(image, torch.zeros(1, 1, 32, 32), predicted, none, none)).backward()
    assert predicted.grad is not None
    assert image.grad is None


@pytest.mark.parametrize("second", [True, False])
def test_bf16_trains_close_to_fp32_and_keeps_losses_and_statistics_in_fp32(second):
    recipe = {"second_generator_forward": second, "ema_decay": 0.9}
    single, half = make_module(**recipe), make_module(**recipe)
    logs, _ = steps(single, [a_batch()])
    half_logs, state = steps(half, [a_batch()], torch.bfloat16)
    assert all(value.dtype == torch.float32 for value in half_logs.values())
    assert all(value.dtype in (torch.float32, torch.int64) for value in state.values())
    within("losses of a step, bf16", half_logs, logs)
    steps(half, [a_batch(i) for i in range(5)], torch.bfloat16)


@pytest.mark.slow
def test_bf16_of_the_trainer_trains_with_the_hrf_loss(tmp_path):
    module = make_module(second_generator_forward=False)
    module.objective.terms["resnet_pl"] = HRFPerceptualLoss(encoder=fill(SegmentationEncoder()))
    run = run_into(tmp_path / "run", module, trainer={"precision": "bf16-mixed"})
    assert int(module.iteration) == 2
    assert "skipped" not in (run / "train.log").read_text()
    assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in module.generator.parameters())


def test_validation_in_bf16_measures_in_float32(tmp_path):
    module, seen = make_module(), []
    update = module.evaluator.update
    module.evaluator.update = lambda names, completed, *rest: (
        seen.append((completed.dtype, torch.is_autocast_enabled("cpu"))) or update(names, completed, *rest)
    )
    run_into(tmp_path / "run", module, trainer={"precision": "bf16-mixed"})
    assert set(seen) == {(torch.float32, False)}


def test_more_batches_for_an_update_than_the_training_has_are_refused(tmp_path):
    module = make_module(second_generator_forward=False, accumulate=3)
    with pytest.raises(ValueError, match=r"recipe\.accumulate=3.* 2 batches"):
        run_into(tmp_path / "run", module)
    assert not (tmp_path / "run").exists()


def test_in_bf16_the_second_fake_is_of_the_updated_weights():
    """Autocast keeps copies of weights in bfloat16, which are older than the update."""
    module = make_module()
    fakes = []
    module.generator.register_forward_hook(lambda _, __, out: fakes.append(out.detach()))
    steps(module, [a_batch()], torch.bfloat16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        module._predict(a_batch())
    assert torch.equal(fakes[1], fakes[2])
    assert not torch.equal(fakes[0], fakes[1])


def test_feature_matching_of_half_precision_features_is_computed_in_single():
    fake, real = torch.full((1, 1, 4, 4), 1.0).bfloat16(), torch.full((1, 1, 4, 4), 0.01).bfloat16()
    none = torch.zeros(1)
    loss = FeatureMatchingLoss(1)(StepContext(none, none, none, none, none, [real], [fake]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((1 - real[0, 0, 0, 0].item()) ** 2, rel=1e-6)


def accumulating(n=2, **recipe):
    return make_module(second_generator_forward=False, accumulate=n, **recipe)


def test_accumulated_gradients_are_the_mean_of_those_of_the_batches():
    batches = [a_batch(0), a_batch(1)]
    module, apart = accumulating(clip_norm=1e9), []
    for batch in batches:  # each gradient alone; BatchNorm's running statistics take no part in training mode
        single = make_module(second_generator_forward=False, clip_norm=1e9)
        steps(single, [batch])
        apart.append([p.grad for p in (*single.generator.parameters(), *single.discriminator.parameters())])
    steps(module, batches)
    together = [p.grad for p in (*module.generator.parameters(), *module.discriminator.parameters())]
    for gradient, first, second in zip(together, *apart, strict=True):
        torch.testing.assert_close(gradient, (first + second) / 2, rtol=1e-4, atol=1e-6)


def test_both_optimisers_step_once_for_the_accumulated_batches():
    module = accumulating(2, ema_decay=0.5)
    updates = []
    module.average.update_parameters = lambda *_: updates.append(int(module.iteration))
    fit(module, [a_batch(i) for i in range(5)])
    assert int(module.iteration) == 5  # iterations are batches
    assert [{int(s["step"]) for s in o.state.values()} for o in module.trainer.optimizers] == [{2}, {2}]
    assert updates == [1, 3]
    assert module.accumulated == 1


def test_a_batch_that_is_not_finite_drops_what_was_accumulated():
    module = accumulating(2)
    optimizers = module.train().configure_optimizers()
    before = copy.deepcopy(module.state_dict())
    bad = {**a_batch(), "image": torch.full((2, 3, 32, 32), float("nan"))}
    faults = [module.step(batch, *optimizers)[1].fault() for batch in (a_batch(0), bad)]
    assert [bool(fault) for fault in faults] == [False, True]
    for name, p in module.named_parameters():
        assert torch.equal(p, before[name]), name
    for batch in (a_batch(1), a_batch(2)):
        assert not module.step(batch, *optimizers)[1].fault()
    assert {int(s["step"]) for s in optimizers[0].state.values()} == {1}
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_a_run_stopped_between_accumulated_batches_is_resumed_to_the_bit(tmp_path):
    whole = accumulating(3)
    run_into(tmp_path / "whole", whole, trainer={"max_epochs": 4})  # 4 epochs of 2 batches: updates after 3 and 6
    run_into(tmp_path / "parts", accumulating(3), trainer={"max_epochs": 2})
    resumed = accumulating(3)
    last = str(tmp_path / "parts/checkpoints/last.ckpt")
    run_into(tmp_path / "parts", resumed, trainer={"max_epochs": 4}, resume=last)
    for (key, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert {int(s["step"]) for s in resumed.trainer.optimizers[0].state.values()} == {2}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"accumulate": 0}, "recipe.accumulate.*0"),
        ({"accumulate": 2}, "recipe.accumulate=2.*recipe.second_generator_forward=false"),
        ({"compiled": True, "recompute_blocks": True}, "recipe.compiled=true.*recompute"),
    ],
)
def test_options_that_contradict_each_other_are_refused(recipe, message):
    with pytest.raises(ValueError, match=message):
        make_module(**recipe)


@pytest.mark.parametrize("kind", [FFCResNetGenerator, ResNetGenerator, partial(DilatedResNetGenerator, n_dilations=2)])
def test_recomputed_blocks_give_the_same_gradients_and_move_statistics_once(kind):
    torch.manual_seed(0)
    plain = kind(ngf=4, n_blocks=2).train()
    again = copy.deepcopy(plain)
    recompute_blocks(again)
    x = torch.rand(2, 4, 32, 32)
    for network in (plain, again):
        network(x).square().sum().backward()
    assert list(again.state_dict()) == list(plain.state_dict())
    for (name, a), b in zip(plain.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    for (name, a), b in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name


def test_recomputed_blocks_keep_less_for_the_backward_pass():
    def saved(recompute):
        sizes, network = [], FFCResNetGenerator(ngf=4, n_blocks=3).train()
        if recompute:
            recompute_blocks(network)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            network(torch.rand(1, 4, 32, 32))
        return sum(sizes)

    assert saved(recompute=True) < 0.8 * saved(recompute=False)


def test_recomputed_blocks_train_with_averages_to_the_same_weights():
    recipe = {"second_generator_forward": False, "ema_decay": 0.5}
    (_, state), (_, again) = (
        steps(make_module(**recipe, recompute_blocks=flag), [a_batch(i) for i in range(2)]) for flag in (False, True)
    )
    for name, value in state.items():
        assert torch.equal(again[name], value), name


def test_a_machine_that_cannot_compile_says_so_in_one_line(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler found\nand a long story")

    monkeypatch.setattr(compiled_module.torch, "compile", broken)
    module = make_module(compiled=True)
    with pytest.raises(
        ValueError, match=r"recipe\.compiled=true: .*\(no compiler found\); .* recipe\.compiled=false"
    ) as e:
        Trainer(**TRAINER, logger=False, enable_checkpointing=False).fit(
            module, torch.utils.data.DataLoader([a_batch()], batch_size=None)
        )
    assert "\n" not in str(e.value)


@pytest.mark.slow
def test_a_compiled_generator_trains_to_the_same_numbers():
    plain, compiled = make_module(), make_module(compiled=True)
    keys = list(compiled.state_dict())
    compiled.configure_model()
    assert list(compiled.state_dict()) == keys
    (logs, _), (compiled_logs, _) = steps(plain, [a_batch()]), steps(compiled, [a_batch()])
    for name, value in logs.items():
        assert compiled_logs[name].item() == pytest.approx(value.item(), rel=1e-3), name


@pytest.mark.slow
def test_the_benchmark_takes_turns_and_compares():
    lines = bench_train(
        *("--rounds", "1", "--size", "64", "--batch", "1", "--ngf", "4", "--n-blocks", "1"),
        *("--variants", "official", "equal semantics"),
    )
    assert [line.split("  ")[0] for line in lines[1:]] == ["official", "equal semantics"]
    assert "times as fast as official" in lines[2]


@pytest.mark.parametrize(
    ("accelerator", "batch", "crop", "pixels"),
    [("cpu", 2, 256, 2 * 256**2), ("auto", 3, [128, 64], 3 * 128 * 64), ("gpu", 2, 256, None)],
)
def test_the_allocator_is_tuned_for_small_batches_on_a_cpu(monkeypatch, accelerator, batch, crop, pixels):
    seen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(allocator, "tune_allocator", lambda n: bool(seen.append(n)) or True)
    assert allocator.tune_for_training(accelerator, batch, crop) is (pixels is not None)
    assert seen == ([] if pixels is None else [pixels])

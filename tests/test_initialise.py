"""Fine-tuning from released and own weights; conversion of a trained network and back."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from formula import fill
from trainings import a_batch, make_module, run_into

import lama
from lama.checkpoints import convert, open_checkpoint, save_generator, save_official
from lama.models import FFCResNetGenerator, PatchDiscriminator
from lama.runs import Checkpoints
from lama.training import initialise


def state(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def equal(network, other):
    return all(torch.equal(value, other[key]) for key, value in network.state_dict().items())


@pytest.fixture
def generator():
    return fill(FFCResNetGenerator(ngf=4, n_blocks=1))


@pytest.fixture
def discriminator():
    return fill(PatchDiscriminator(ndf=4, n_layers=2))


@pytest.fixture
def both(tmp_path, generator, discriminator):
    save_official(tmp_path / "both", generator, discriminator)
    return open_checkpoint(tmp_path / "both")


@pytest.fixture
def alone(tmp_path, generator):
    save_generator(tmp_path / "alone.safetensors", generator)
    return open_checkpoint(tmp_path / "alone.safetensors")


@pytest.mark.parametrize(
    ("parts", "loaded"),
    [("auto", {"generator", "discriminator"}), ("both", {"generator", "discriminator"}),
     ("generator", {"generator"}), ("discriminator", {"discriminator"})],
)  # fmt: skip
def test_the_parts_that_were_asked_for_are_loaded(both, generator, discriminator, parts, loaded):
    module = make_module()
    before = copy.deepcopy(module)
    lines = initialise(module, both, parts)
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        expected = network if name in loaded else before.get_submodule(name)
        assert equal(module.get_submodule(name), expected.state_dict())
        line = next(line for line in lines if line.startswith(f"  {name}:"))
        assert ("loaded, " in line) == (name in loaded)
        assert ("initialised at random (not asked for)" in line) == (name not in loaded)


def test_auto_does_without_a_discriminator_and_says_so(alone, generator):
    module = make_module()
    lines = initialise(module, alone, "auto")
    assert equal(module.generator, generator.state_dict())
    assert "  discriminator: initialised at random (the file holds none)" in lines


def test_unused_tensors_of_the_file_are_reported(tmp_path, generator):
    content = {f"generator.{key}": value for key, value in generator.state_dict().items()}
    content |= {f"loss_resnet_pl.impl.{i}": torch.zeros(1) for i in range(3)} | {"val_evaluator.x": torch.zeros(1)}
    torch.save({"state_dict": content}, tmp_path / "a.ckpt")
    lines = initialise(make_module(), open_checkpoint(tmp_path / "a.ckpt"))
    assert lines[-1] == "  left in the file: 3 tensors of loss_resnet_pl, 1 tensors of val_evaluator"


def test_the_average_starts_from_the_same_weights(both, generator):
    module = make_module(ema_decay=0.9)
    initialise(module, both)
    assert equal(module.inference_generator, generator.state_dict())


@pytest.mark.parametrize("parts", ["both", "discriminator"])
def test_a_discriminator_that_was_asked_for_must_be_there(alone, parts):
    module = make_module()
    before = state(module)
    with pytest.raises(ValueError, match="holds no discriminator of LaMa"):
        initialise(module, alone, parts)
    assert equal(module, before), "nothing is loaded halfway"


def test_a_network_of_another_size_names_what_fits(tmp_path):
    save_generator(tmp_path / "a.safetensors", FFCResNetGenerator(ngf=4, n_blocks=3))
    module = make_module()
    before = state(module)
    with pytest.raises(ValueError, match=r"n_blocks 3 instead of 1; what fits is .*generator\.n_blocks=3"):
        initialise(module, open_checkpoint(tmp_path / "a.safetensors"))
    assert equal(module, before)


def test_a_known_network_names_its_config(tmp_path):
    with torch.device("meta"):
        shapes = FFCResNetGenerator(n_blocks=18).state_dict()
    torch.save({key: torch.zeros(()).expand(value.shape) for key, value in shapes.items()}, tmp_path / "big.pth")
    with pytest.raises(ValueError, match=r"18 blocks: this looks like big-lama, train it with -cn big-lama"):
        initialise(make_module(), open_checkpoint(tmp_path / "big.pth"))


def test_a_wrong_discriminator_leaves_the_generator_alone(tmp_path, generator):
    save_official(tmp_path / "a", generator, PatchDiscriminator(ndf=8, n_layers=2))
    module = make_module()
    before = state(module)
    with pytest.raises(ValueError, match="the discriminator is another network, ndf 8 instead of 4"):
        initialise(module, open_checkpoint(tmp_path / "a"))
    assert equal(module, before)


def test_an_unknown_part_is_an_error(alone):
    with pytest.raises(ValueError, match="init_parts=all: expected auto, generator, discriminator or both"):
        initialise(make_module(), alone, "all")


@pytest.mark.parametrize("ema", [None, 0.9])
def test_twenty_steps_to_the_official_layout_and_back(tmp_path, ema):
    """The converted network gives the same output, bit for bit, and so does its discriminator."""
    module = make_module(ema_decay=ema).train()
    optimizers = module.configure_optimizers()
    for i in range(20):
        module.step(a_batch(i), *optimizers)
    torch.save({"state_dict": module.state_dict()}, tmp_path / "last.ckpt")
    convert(tmp_path / "last.ckpt", tmp_path / "official", discriminator=True)
    module.use_memory_format(torch.contiguous_format)  # as a network is loaded: the order of a sum is in the last bit
    image, mask = a_batch(99)["image"], a_batch(99)["mask"]
    expected = module.eval().complete(image, mask)[0]
    assert torch.equal(lama.load(tmp_path / "official", fast=False).predict(image, mask), expected)
    again = open_checkpoint(tmp_path / "official").build("discriminator").eval()
    assert torch.equal(again(image)[0], module.discriminator(image)[0])


def test_a_fine_tuning_shows_the_network_before_the_first_step(tmp_path):
    run_into(tmp_path / "anew")
    run_into(tmp_path / "tuned", origin=["init_from: a"])
    sheets = {name: sorted(p.name for p in (tmp_path / name / "samples").iterdir()) for name in ("anew", "tuned")}
    assert sheets["tuned"] == ["iteration_0000000.png", *sheets["anew"]]


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_network_trained_from_small_keeps_its_scale_and_its_detail(tmp_path, ema_decay, generator):
    """In the files of its run, after resuming, after a conversion, and as the start of a further training."""
    generator.own_scale = 64
    save_generator(tmp_path / "start.safetensors", generator)
    module = make_module(ema_decay=ema_decay)
    initialise(module, open_checkpoint(tmp_path / "start.safetensors"))
    run_into(tmp_path / "run", module, checkpoints=partial(Checkpoints, every_batches=1))
    run_into(tmp_path / "run", make_module(ema_decay=ema_decay), trainer={"max_epochs": 2}, resume="auto")
    convert(tmp_path / "run", tmp_path / "converted.safetensors")
    (tmp_path / "run/checkpoints/last.ckpt").rename(tmp_path / "last.ckpt")  # away from the config.yaml of a test
    again = make_module(ema_decay=ema_decay)
    initialise(again, open_checkpoint(tmp_path / "last.ckpt"))
    assert again.inference_generator.own_scale == 64
    image = np.random.default_rng(0).integers(0, 256, (96, 100, 3), np.uint8)
    hole = np.zeros((96, 100), np.uint8)
    hole[40:60, 40:70] = 255
    for place in ("run", "last.ckpt", "converted.safetensors"):
        inpaint = lama.load(tmp_path / place, "cpu")
        np.testing.assert_array_equal(inpaint(image, hole), inpaint.variant(detail="on", scale=64)(image, hole))
        assert (inpaint(image, hole) != inpaint.variant(detail="off")(image, hole)).any()


def test_the_scale_of_another_network_is_not_taken_over(tmp_path, both, discriminator):
    module = make_module()
    initialise(module, both)
    assert module.generator.own_scale is None
    module.set_scale(64)
    initialise(module, both, "discriminator")  # its generator stays
    assert module.generator.own_scale == 64
    initialise(module, both, "generator")
    run_into(tmp_path / "run", module)
    assert lama.load(tmp_path / "run", "cpu").generator.own_scale is None


def test_a_scale_that_is_no_number_is_damage(tmp_path, generator):
    generator.own_scale = "many"
    save_generator(tmp_path / "a.safetensors", generator)
    with pytest.raises(ValueError, match=r"a\.safetensors: .*scale 'many'"):
        open_checkpoint(tmp_path / "a.safetensors")

"""A generator of a user: one file, one export line and one YAML take it through every command."""

import importlib
import logging
import sys

import numpy as np
import pytest
import torch
from torch import nn

import lama
from lama.checkpoints import convert, load_generator
from lama.data.evaluation_set import write_pairs
from lama.inference import Inpainter, Refiner
from lama.interfaces import EvaluationPair
from lama.training.recompute import recompute_blocks

YAML = "_target_: lama.models.TwoLayerGenerator\nwidth: 6\n"


class TwoLayerGenerator(nn.Module):
    """Two convolutions; nothing in common with the networks of LaMa but the contract."""

    __module__ = "lama.models.two_layers"  # the file it would stand in

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.config = {"width": width}
        self.pad_multiple, self.min_size = 2, 4
        self.down = nn.Conv2d(4, width, 4, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1)

    def forward(self, x):
        return self.up(self.down(x).relu()).sigmoid()


@pytest.fixture(scope="module", autouse=True)
def exported():
    """The export line in ``lama/models/__init__.py``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lama.models, "TwoLayerGenerator", TwoLayerGenerator, raising=False)
        patch.setattr(lama.models, "__all__", [*lama.models.__all__, "TwoLayerGenerator"])
        patch.setattr(lama.models, "GENERATORS", (*lama.models.GENERATORS, "TwoLayerGenerator"))
        yield


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Overrides of the demo's configuration; the YAML lies in a folder of its own."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "generator").mkdir()
    (folder / "generator" / "two_layers.yaml").write_text(YAML)
    return [
        f"--config-dir={folder}", "generator=two_layers", "discriminator.ndf=4", "augment.size=64",
        "data.epoch_size=4", "data.batch_size=2", "data.val_per_image=1", "data.val_size=64", "data.num_workers=0",
        f"run_dir={folder / 'run'}",
    ]  # fmt: skip


def command(verb, *arguments):
    """What ``lama VERB`` does, in this process, in which the generator is exported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"bin/{verb}.py", *arguments])
        importlib.import_module(f"lama.commands.{verb}").main(arguments)


@pytest.fixture(scope="module")
def run(settings):
    """The folder of a training of two steps, and of two more after it was resumed."""
    folder = settings[-1].partition("=")[2]
    for epochs in (1, 2):
        command("train", "-cn", "demo", *settings, f"trainer.max_epochs={epochs}")
    return folder


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    mask = np.zeros((150, 170), bool)
    mask[20:60, 30:80] = True
    return EvaluationPair("a_mask000", rng.integers(0, 256, (150, 170, 3), np.uint8), mask)


def test_a_run_is_resumed_and_its_weights_load_by_class_and_arguments(run):
    checkpoint = torch.load(f"{run}/checkpoints/last.ckpt", weights_only=False)
    assert checkpoint["state_dict"]["iteration"] == 4
    best, last = load_generator(run), load_generator(f"{run}/checkpoints/last.ckpt")
    for generator in (best, last):
        assert type(generator) is TwoLayerGenerator
        assert generator.config == {"width": 6}
    assert torch.equal(last.up.bias, checkpoint["state_dict"]["average.module.up.bias"])


@pytest.mark.parametrize("strategy", ["auto", "full", "crop", "tile"])
def test_it_predicts_by_itself_and_one_line_says_so(run, pair, strategy, caplog):
    inpainter = lama.load(run, "cpu", strategy=strategy, tile=128, margin=8)
    with caplog.at_level(logging.INFO, "lama"):
        filled = [inpainter(pair.image, pair.mask) for _ in range(2)]
    assert (filled[0][~pair.mask] == pair.image[~pair.mask]).all()
    assert (filled[0][pair.mask] != pair.image[pair.mask]).any()
    lines = [record.message for record in caplog.records if "TwoLayerGenerator" in record.message]
    assert len(lines) == 1
    assert "no fast equivalent" in lines[0]
    plain = lama.load(run, "cpu", strategy=strategy, tile=128, margin=8, fast=False)
    np.testing.assert_array_equal(filled[1], plain(pair.image, pair.mask))


def test_it_is_evaluated(run, pair, tmp_path):
    pairs = write_pairs([pair], tmp_path / "pairs")
    overrides = [f"indir={pairs}", f"model.path={run}", f"outdir={tmp_path / 'out'}", "metrics=[psnr_hole]"]
    command("evaluate", *overrides)
    assert (tmp_path / "out" / "metrics.json").is_file()


@pytest.mark.parametrize("pre_post", ["true", "false"])
def test_it_is_exported(run, tmp_path, pre_post):
    out = tmp_path / "network.pt"
    overrides = [f"model.path={run}", "format=torchscript", f"out={out}", f"pre_post={pre_post}"]
    command("export", *overrides)
    assert out.is_file()


def test_options_that_need_its_parts_are_refused_in_one_line(run, pair, tmp_path):
    generator = load_generator(run)
    refused = {
        "refine": lambda: Inpainter(generator, "cpu", refiner=Refiner())(pair.image, pair.mask),
        r"recipe\.recompute_blocks": lambda: recompute_blocks(generator),
        "precision=bf16": lambda: Inpainter(generator, "cpu", precision="bf16"),
        "official": lambda: convert(run, tmp_path / "official"),
    }
    for key, attempt in refused.items():
        with pytest.raises(ValueError, match=rf"{key}.*TwoLayerGenerator") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_weights_that_contradict_their_config_are_refused(run, tmp_path, tiny_generator):
    (tmp_path / "config.yaml").write_text(f"generator: {{{', '.join(YAML.strip().splitlines())}}}")
    torch.save(tiny_generator.state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth.*TwoLayerGenerator"):
        load_generator(tmp_path / "other.pth")

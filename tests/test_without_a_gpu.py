"""Trainings, metrics and predictions on the meta device: what would fail or wait on a GPU fails here."""

import functools
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from composing import composed, finetuned_from
from networks import GENERATORS
from omegaconf import OmegaConf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch.utils._pytree import tree_leaves
from trainings import make_data, make_module

from lama import pretrained
from lama.config import CONFIGS, build_module, fit_to_start, to_yaml
from lama.evaluation import Evaluator
from lama.evaluation.metrics import METRICS, scores_images, weight_files
from lama.fast.fuse import can_fuse, fuse
from lama.inference.refine import Refiner
from lama.machine.rehearsal import Rehearsal, bfloat16_convolutions, fused_optimizers
from lama.machine.waits import HostWaits
from lama.runs import Checkpoints, NonFiniteGuard
from lama.runs.callbacks import MetricsTable
from lama.runs.plain_progress import PlainProgress
from lama.runs.speed import Speed
from lama.training.rehearse import rehearse_step

TRAININGS = sorted(path.stem for path in (CONFIGS / "training").glob("*.yaml"))
REDUCED = ["generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4"]


@pytest.fixture(autouse=True)
def networks_without_files(monkeypatch):
    """Frozen networks with random weights; each is made once."""
    monkeypatch.setattr(pretrained, "load_into", lambda network, *_: network)
    monkeypatch.setattr("lama.lpips_network._load_backbone", lambda *_: None)
    monkeypatch.setattr(pretrained, "require", lambda *_, **__: "")


PARTS = ("generator", "discriminator", "losses", "evaluator", "optimizers", "recipe", "weights")


@functools.cache
def cost(yaml, batch, side, bf16=False):
    return rehearse_step(build_module(OmegaConf.create(yaml)), batch, (side, side), bf16)


def cost_of(config, *sizes):
    """Trainings that differ in their data only share it."""
    return cost(to_yaml(OmegaConf.masked_copy(config, PARTS)), *sizes)


@pytest.mark.parametrize("recipe", ["official", "modern"])
@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_steps_without_a_gpu(name, recipe):
    """No tensor on the wrong device, and the host waits nowhere."""
    finetunes = name.endswith("finetune")  # it takes its networks from the weights that it begins with
    own = ["init_from=small"] if finetunes else REDUCED
    config = composed(name, *own, f"recipe={recipe}", "evaluator.metrics=[l1]")
    fit_to_start(config, lambda *_: finetuned_from(adversary=True))
    assert not cost_of(config, 2, 80).waits


@pytest.mark.parametrize(("recipe", "waits"), [("official", 2), ("modern", 1)])
def test_an_optimiser_that_cannot_skip_a_step_waits_before_its_update(recipe, waits):
    module = make_module(second_generator_forward=recipe == "official")  # its Adam is not fused
    (place,) = (cost := rehearse_step(module, 2, (32, 32))).waits
    assert place.startswith("lama/training/non_finite.py:")
    assert cost.waits[place] == waits


class OnMeta(CPUAccelerator):
    def setup_device(self, device):
        pass


class WaitsOfBatches(Callback):
    """What the host has waited for in each batch, all callbacks included; it must be the last of them."""

    def __init__(self, seen):
        self.seen, self.batches = seen, []

    def on_train_start(self, *_):
        self.seen.reads.clear()

    def on_train_batch_end(self, *_):
        self.batches.append(dict(self.seen.reads))
        self.seen.reads.clear()


def test_a_training_waits_at_logged_batches_only(tmp_path, monkeypatch):
    """Lightning's loop, with the callbacks of every batch, on the meta device."""
    module = make_module(ema_decay=0.9)
    module.make_optimizers = {name: functools.partial(torch.optim.Adam, fused=True) for name in module.make_optimizers}
    module.to("meta")
    data = make_data(epoch_size=14)  # seven batches
    with fused_optimizers(), Rehearsal() as seen:
        callbacks = [Speed(tmp_path, data, every=3), NonFiniteGuard(), PlainProgress(), MetricsTable(tmp_path, every=3),
                     Checkpoints(tmp_path, "val_l1", "max"), WaitsOfBatches(seen)]  # fmt: skip
        monkeypatch.setattr(callbacks[0].data.waited, "seconds", 0.0)
        trainer = Trainer(
            strategy=SingleDeviceStrategy(torch.device("meta"), OnMeta()), callbacks=callbacks, max_epochs=1,
            log_every_n_steps=3, logger=False, enable_progress_bar=False,
            limit_val_batches=0, num_sanity_val_steps=0, enable_model_summary=False, use_distributed_sampler=False,
        )  # fmt: skip
        monkeypatch.setattr(Checkpoints, "on_train_epoch_end", lambda *_: None)  # nothing to write on this device
        trainer.fit(module, datamodule=data)
    waits = [sum(batch.values()) for batch in callbacks[-1].batches]
    assert len(waits) == 7
    assert [bool(count) for count in waits] == [False, False, True, False, False, True, False], callbacks[-1].batches


def test_waits_on_a_gpu_are_the_warnings_of_pytorch(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def count():
        with HostWaits() as seen:
            for _ in range(2):
                warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
            warnings.warn("something else", stacklevel=1)
        return seen

    with pytest.warns(UserWarning, match="something else") as others:
        seen = count()
    (place,) = seen.places
    assert place.startswith(__file__)
    assert seen.places[place] == 2
    assert modes == ["warn", "default"]
    assert len(others) == 1


def test_the_waits_of_a_real_batch_on_a_gpu_are_logged(tmp_path, monkeypatch, caplog):
    """Of the whole batch after a logged one, the callbacks and the next batch's loading included."""
    caplog.set_level("INFO")
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda _: None)
    monkeypatch.setattr("lama.runs.speed.peak_memory", lambda _: 0)
    logged = {}
    module = SimpleNamespace(device=torch.device("cuda"), iteration=0, log_dict=logged.update)
    trainer = SimpleNamespace(
        is_global_zero=True, world_size=1, optimizers=[SimpleNamespace(param_groups=[{"lr": 1}])] * 2
    )
    speed = Speed(tmp_path, make_data(), every=2)
    speed.on_train_start(trainer, module)
    for _ in range(4):
        speed.on_train_batch_start(trainer, module)
        module.iteration += 1
        speed.on_train_batch_end(trainer, module, {}, {"image": torch.zeros(2)}, 0)
        if module.iteration == 3:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
    speed.teardown(trainer, module, "fit")
    assert logged["speed_host_waits"] == 1
    rows = (tmp_path / "speed.csv").read_text().splitlines()
    assert [row for row in rows if "host_waits" in row] == ["2,speed_host_waits,0", "4,speed_host_waits,1"]
    assert "waited for the GPU 0 times in a batch: nowhere" in caplog.text
    assert f"waited for the GPU 1 times in a batch: {__file__}" in caplog.text


def test_with_several_gpus_the_ranks_ask_each_other_at_logged_batches_only(tmp_path, monkeypatch):
    monkeypatch.setattr("lama.runs.checkpointing.ranks_wait", lambda: True)
    asked = []
    monkeypatch.setattr(
        Checkpoints, "_at_boundary", lambda self, trainer, module, **_: asked.append(int(module.iteration))
    )
    trainer = SimpleNamespace(log_every_n_steps=4)
    checkpoints = Checkpoints(tmp_path, "val_x", "max", every_batches=3)
    for iteration in range(1, 10):
        checkpoints.on_train_batch_end(trainer, SimpleNamespace(iteration=iteration), {})
    assert asked == [3, 4, 6, 8, 9]


def test_what_the_host_sends_without_pinned_memory_is_a_wait():
    x = torch.zeros(2, device="meta")
    for send in (lambda: torch.tensor(1.0, device="meta"), lambda: torch.ones(2).to("meta"),
                 lambda: x.copy_(torch.ones(2)), lambda: x.new_tensor([1.0])):  # fmt: skip
        with Rehearsal() as seen:
            send()
        assert sum(seen.reads.values()) == 1
    with Rehearsal() as seen:
        torch.ones(2).to("meta", non_blocking=True)
        torch.full((2,), 3.0, device="meta") + torch.tensor(1.0)
    assert not seen.reads


class Clumsy(torch.nn.Module):
    """A loss that makes a tensor on the host."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def forward(self, context):
        if self.read:  # the host waits for the GPU
            return context.predicted.mean() * float(context.image.max())
        return (context.predicted * torch.ones(3, 1, 1)).mean()


def test_a_loss_that_waits_or_that_is_on_the_wrong_device_is_found():
    line = Clumsy.forward.__code__.co_firstlineno + 2
    waits = rehearse_step(make_module({"clumsy": Clumsy(read=True)}), 2, (32, 32)).waits
    assert waits[f"{__file__}:{line}"] == 1
    with pytest.raises(RuntimeError, match=r"test_without_a_gpu.py:\d+.*two devices"):
        rehearse_step(make_module({"clumsy": Clumsy(read=False)}), 2, (32, 32))


def test_bytes_and_operations_of_a_convolution():
    network = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False).to("meta")
    with Rehearsal() as seen:
        seen.hold(network.parameters())
        x = torch.rand(2, 3, 16, 16, device="meta")
        for _ in range(3):
            network(x)  # each result is freed before the next is counted
    blocks = [4 * 3 * 9, 2 * 3 * 16 * 16, 2 * 4 * 16 * 16]  # weights, input, one output; numbers of 4 bytes
    assert seen.peak == sum(-(-4 * numbers // 512) * 512 for numbers in blocks)
    assert seen.flops == 3 * 2 * (2 * 4 * 16 * 16) * (3 * 9)


def test_convolutions_in_bfloat16_halve_what_they_give():
    x = torch.rand(1, 3, 8, 8, device="meta")
    with bfloat16_convolutions():
        assert torch.nn.Conv2d(3, 4, 3).to("meta")(x).dtype == torch.bfloat16
        assert torch.nn.Conv2d(3, 4, 3)(torch.rand(1, 3, 8, 8)).dtype == torch.float32  # on the CPU autocast decides
    assert torch.nn.Conv2d(3, 4, 3).to("meta")(x).dtype == torch.float32


def on_meta(batch=2, side=80):
    image = torch.rand(batch, 3, side, side, device="meta")
    return image, image + 1, torch.rand(batch, 1, side, side, device="meta")


OF_TRANSFORMERS = ("rc_s", "remove")  # they cut out squares on the host, and take their networks' sizes from files


@pytest.mark.parametrize("name", [name for name in METRICS if scores_images(name) and name not in OF_TRANSFORMERS])
def test_every_metric_scores_images_on_their_device(name):
    metric = METRICS[name](*[""] * len(weight_files([name])))
    for _ in range(2):  # the first sends its networks and windows to the device
        with Rehearsal() as seen:
            assert metric.score(*on_meta()).shape == (2,)
    assert sum(seen.reads.values()) <= 4  # some send constants; scikit-image computes on the host


def test_a_batch_of_the_validation_waits_once_for_each_number():
    image, other, mask = on_meta()
    evaluator = Evaluator(["psnr_hole", "ssim", "l1"])
    for _ in range(2):  # the first sends the window of SSIM to the device
        with Rehearsal() as seen:
            evaluator.update(["a", "b"], image, other, mask)
    assert sum(seen.reads.values()) == 3 + 2  # the metrics; the areas of the holes, and whether all is finite


def test_an_iteration_of_refinement_neither_waits_nor_leaves_its_device():
    reads = []
    for iterations in (2, 4):
        image, _, mask = on_meta(batch=1, side=64)
        with Rehearsal() as seen:
            refined = Refiner(n_iters=iterations, min_side=16)(GENERATORS["ffc"]().eval().to("meta"), image, mask)
        assert refined.shape == image.shape
        reads.append(sum(seen.reads.values()))
    assert reads[0] == reads[1] > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", GENERATORS)
def test_the_network_of_a_prediction_neither_waits_nor_leaves_its_device(kind, precision):
    network = GENERATORS[kind]().eval().to("meta")
    fused = fuse(network, precision) if can_fuse(network) else network
    with torch.inference_mode(), Rehearsal() as seen:
        x = torch.rand(1, 4, 80, 80, device="meta")
        assert fused(x).shape == (1, 3, 80, 80)
        if hasattr(fused, "forward_chunked"):
            assert fused.forward_chunked(x).shape == (1, 3, 80, 80)
    assert not seen.reads


class Counted(Rehearsal):
    """Counts the bytes of tensors with values."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor):
                self._note(made)
        return result


RECIPES = {
    "official": {},
    "modern": {"second_generator_forward": False},
    "gpu_8gb": {"second_generator_forward": False, "accumulate": 2, "recompute_blocks": True},
}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_tensors_of_a_rehearsal_are_the_tensors_of_a_step(recipe, bf16):
    """With the recipes of the cards, whose memory is taken from a rehearsal."""

    def module():
        return make_module(**RECIPES[recipe], ema_decay=0.9)

    real = module().train()
    with Counted() as seen:
        seen.hold(real.parameters())
        seen.hold(real.buffers())
        optimizers = real.configure_optimizers()
        batch = {"image": torch.rand(2, 3, 128, 128), "mask": (torch.rand(2, 1, 128, 128) > 0.8).float()}
        for _ in range(2 * real.accumulate):  # the first update makes the optimisers' states
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                real.step(batch, *optimizers)
    assert rehearse_step(module(), 2, (128, 128), bf16).peak == pytest.approx(seen.peak, rel=0.01)


def test_the_recipes_of_the_cards_are_compared():
    default = composed("big-lama")
    for card in CARDS:
        config = composed("big-lama", f"hardware={card}")
        changed = {key: value for key, value in config.recipe.items() if value != default.recipe[key]}
        assert changed in RECIPES.values(), card


STEPS = """
import sys
import torch
from lama.bench.timing import noise
from lama.bench.train_worker import build
from lama.machine.memory import peak_memory
from lama.training.rehearse import rehearse_step
batch, bf16 = int(sys.argv[1]), sys.argv[2] == "bf16"
module = build(32, 2, {"second_generator_forward": False, "ema_decay": 0.999, "hrf_batch_statistics": False})
optimizers = module.configure_optimizers()
data = dict(zip(("image", "mask"), noise(batch, 128)))
with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
    for _ in range(2):
        module.step(data, *optimizers)
print(peak_memory(torch.device("cpu")), rehearse_step(module, batch, (128, 128), bf16).peak)
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_memory_of_a_step_is_the_memory_of_a_process(precision):
    """Of an image, in a process that trains; what a process holds besides is the same for every batch."""
    peaks = []
    # glibc gives freed memory back at once: the gaps that it keeps otherwise vary by a third.
    at_once = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    for batch in ("2", "8"):  # far apart: the peak of a process varies by megabytes
        done = subprocess.run(
            [sys.executable, "-c", STEPS, batch, precision],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | at_once,
        )
        peaks.append([int(number) for number in done.stdout.split()])
    process, rehearsed = (after - before for before, after in zip(*peaks, strict=True))
    print(f"{precision}: {process / 6e6:.1f} MB an image in a process, {rehearsed / 6e6:.1f} MB rehearsed")
    assert 0.9 < process / rehearsed < 1.3  # a process holds work space of the convolutions as well


CARDS = {"gpu_8gb": (8, 30), "gpu_24gb": (24, 30), "a100x4": (40, 120), "h200": (141, 120)}  # GB of one, images


def test_every_card_is_tested():
    assert {path.stem for path in (CONFIGS / "training" / "hardware").glob("*.yaml")} == set(CARDS)


@pytest.mark.parametrize(
    "card", [card if card == "h200" else pytest.param(card, marks=pytest.mark.slow) for card in CARDS]
)
def test_big_lama_fits_a_card_at_a_published_batch(card):
    """A quarter of the card is left for the libraries and for gaps between blocks."""
    gigabytes, published = CARDS[card]
    config = composed("big-lama", f"hardware={card}", "evaluator.metrics=[l1]")
    assert config.data.batch_size * config.trainer.devices * config.recipe.accumulate == published
    peak = cost_of(config, config.data.batch_size, 256, config.trainer.precision == "bf16-mixed").peak
    print(f"{card}: {peak / 1e9:.1f} of {gigabytes} GB")
    assert peak < 0.75e9 * gigabytes

"""Configurations: each composes and builds; the gate to objects; errors in one line."""

import os
import re
import sys
import tarfile

import lpips
import numpy as np
import pytest
import torch
from composing import composed, finetuned_from
from networks import random_inception
from omegaconf import OmegaConf
from PIL import Image

from lama.commands import run_verb
from lama.config import CONFIGS, build, build_module, check_plan, fit_to_start, one_line, preflight, read
from lama.config.composing import compose
from lama.models import SegmentationEncoder, VGG19Features
from lama.pretrained import MissingWeightsError

TRAININGS = sorted(path.stem for path in (CONFIGS / "training").glob("*.yaml"))
GROUPS = sorted(
    (folder.name, path.stem)
    for folder in (CONFIGS / "training").iterdir()
    if folder.is_dir()
    for path in folder.glob("*.yaml")
)


def random_image(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)).save(path)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """Overrides that stand in for a lab: random images in the official layouts, random files of encoder weights."""
    root = tmp_path_factory.mktemp("lab")
    for i, train in enumerate(("train", "train", "train_256", "train_256")):
        random_image(root / train / f"{i}.png", 80)
    for val in ("val", "val_256"):
        random_image(root / val / "a.png", 80)
        Image.fromarray(np.eye(80, dtype=np.uint8) * 255).save(root / val / "a_mask000.png")
    for i in range(2):  # masks, by the names of the images, that are label maps as well
        mask = np.zeros((80, 80), np.uint8)
        mask[10 + 20 * i : 50, 20:60] = 200
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    (root / "list.txt").write_text("train/0.png\ntrain/1.png\n")
    (root / "shards").mkdir()
    with tarfile.open(root / "shards" / "part0.tar", "w") as shard:
        for i in range(2):
            shard.add(root / "train" / f"{i}.png", f"{i}.png")
    for name, network in (("resnet", SegmentationEncoder()), ("vgg", VGG19Features())):
        torch.save(network.state_dict(), root / f"{name}.pth")
    resnets = [
        f"weights.{name}={root}/resnet.pth" for name in ("ade20k_encoder", "ade20k_encoder_plain", "resnet50_imagenet")
    ]
    for backbone in ("vgg", "squeeze"):
        torch.save(
            lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False).state_dict(), root / f"lpips_{backbone}.pth"
        )
    torch.save(random_inception().state_dict(), root / "inception.pth")
    metrics = [f"weights.lpips_{backbone}={root}/lpips_{backbone}.pth" for backbone in ("vgg", "squeeze")]
    metrics += [f"weights.fid_inception={root}/inception.pth"]
    return [f"location.data_root_dir={root}", f"weights.vgg19={root}/vgg.pth", *resnets, *metrics]


REDUCED = ["generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4", "augment.size=80", "data.batch_size=2",
           "data.num_workers=0", "data.max_val_pairs=2", "data.val_per_image=1"]  # fmt: skip


def takes_a_step(config):
    """Build everything that a training builds, and make one update on one batch."""
    preflight(config)
    data = build(config.data, "data")
    build(config.trainer, "trainer")
    module = build_module(config).train()
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    batch["mask"][..., :20, :] = 0  # wide masks cover all of such a small crop, and BatchNorm explodes on constants
    trained = [module.generator, *([module.discriminator] if "adversarial" in module.objective.terms else [])]
    before = [p.detach().clone() for network in trained for p in network.parameters()]
    module.cosine_lr = False  # its length is the Trainer's to know
    optimizers = module.configure_optimizers()
    for _ in range(module.accumulate):  # batches for one update
        logs, _ = module.step(batch, *optimizers)
    assert all(value.isfinite() for value in logs.values()), logs
    after = [p for network in trained for p in network.parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True) if a.ndim > 1)


@pytest.mark.parametrize("adversary", [True, False])
def test_finetuning_takes_networks_and_weights_of_losses_from_its_start(surroundings, adversary):
    config = composed("finetune", *surroundings, "init_from=x", "data.path=x", "losses.feature_matching.weight=7")
    fit_to_start(config, lambda *_: finetuned_from(adversary))
    module = build_module(config)
    assert module.generator.config["ngf"] == 4
    assert module.discriminator.config["ndf"] == (4 if adversary else 2)
    terms = module.objective.terms
    assert ("adversarial" in terms) == adversary
    assert terms["l1"].weight_missing == (0 if adversary else 30)
    assert terms["feature_matching"].weight == 7  # what the user says stays


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_config_takes_a_step_at_reduced_width(name, surroundings):
    folder = surroundings[0].partition("=")[2]
    own = [f"data.path={folder}/list.txt"] if name.startswith("lama-small") else []  # no data set of that name exists
    if name.endswith("finetune"):  # its networks are those of init_from
        path = f"data.path={folder}/train" if name == "finetune" else "data.path=train"
        config = composed(name, *surroundings, *REDUCED[3:], "init_from=small", path)
        fit_to_start(config, lambda *_: finetuned_from(adversary=False))
    else:
        config = composed(name, *surroundings, *REDUCED, *own)
    takes_a_step(config)


@pytest.mark.parametrize(("group", "option"), GROUPS)
def test_every_option_of_every_group_takes_a_step_at_reduced_width(group, option, surroundings):
    if (group, option) in (("logger", "wandb"), ("logger", "mlflow")):
        pytest.importorskip(option, reason=f"the extra {option} is not installed")
    overrides = [f"{group}={option}"] + ([] if group == "losses" else ["losses=no_perceptual"])
    overrides += ["data.path=held_out"] if (group, option) == ("data", "builtin") else []
    overrides += [f"data.path={surroundings[0].partition('=')[2]}"] if (group, option) == ("data", "folder") else []
    folder = surroundings[0].partition("=")[2]
    if group == "masks" and option in ("from_folder", "paired", "objects"):
        overrides += [f"masks.path={folder}/masks"]
    if (group, option) in (("data", "list"), ("data", "shards")):
        overrides += [f"data.path={folder}/{'list.txt' if option == 'list' else 'shards'}"]
    if (group, option) == ("data", "mixture"):
        parts = {"a": f"{folder}/train", "b": f"{folder}/list.txt"}
        overrides += ["data.path={" + ", ".join(f"{name}: {{path: {place}}}" for name, place in parts.items()) + "}"]
    overrides += ["generator.ngf=8"] if option == "lama_fourier_lfu" else []
    reduced = REDUCED
    if group == "generator":  # another class may have other arguments
        known = {f"generator.{key}" for key in composed("base", *surroundings, *overrides).generator}
        reduced = [key for key in REDUCED if not key.startswith("generator.") or key.partition("=")[0] in known]
    takes_a_step(composed("base", *surroundings, *reduced, *overrides))


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_states_its_command_and_cost(name):
    text = (CONFIGS / "training" / f"{name}.yaml").read_text()
    if name == "base":
        return
    assert f"lama train -cn {name}" in text
    if name != "demo":
        assert "# Cost:" in text
        assert "# Published:" in text


@pytest.mark.parametrize("name", ["train_wide", "random_thick_256", "random_thin_512"])
def test_masks_configs_build(name):
    import numpy as np

    mask = build(composed("base", f"masks={name}").masks, "masks")(np.random.default_rng(0), 256, 256)
    assert mask.shape == (256, 256)


def test_published_objective_has_the_published_weights():
    losses = composed("lama-fourier").losses
    weights = {name: term.get("weight", term.get("weight_known")) for name, term in losses.items() if name[0] != "_"}
    assert weights == {"l1": 10, "adversarial": 10, "feature_matching": 100, "resnet_pl": 30}
    assert losses.adversarial.gp_coef == 0.001


def test_official_overrides_work():
    config = composed("lama-fourier", "location=my_dataset", "data.batch_size=7", "generator.n_blocks=3")
    assert config.data.batch_size == 7
    assert config.data.path == f"{config.location.data_root_dir}/train"


@pytest.mark.parametrize(
    "target", ["os.system", "subprocess.run", "builtins.eval", "lama.config.os.system", "lama.config.build",
               "lama.commands.run_verb", "lama.sweeps.start", "torch.optim.sys.exit",
               "pytorch_lightning.os.system", "lama.models.torch.load", "lama.evaluation.evaluator.pretrained.require"]
)  # fmt: skip
def test_the_gate_refuses_names_that_are_not_public(target):
    with pytest.raises(ValueError, match=r"thing\._target_"):
        build({"_target_": target}, "thing")


def test_unknown_argument_names_its_key_and_the_nearest():
    with pytest.raises(ValueError, match=r"generator\.n_block: unknown key; did you mean n_blocks\?"):
        build({"_target_": "lama.models.FFCResNetGenerator", "n_block": 1}, "generator")


@pytest.mark.parametrize(("value", "shown"), [("ten", "ten"), (1.5, "1.5"), (True, "true"), (None, "null")])
def test_a_value_of_another_type_names_its_key(value, shown):
    with pytest.raises(ValueError, match=rf"generator\.ngf: expected a whole number, got {shown}$"):
        build({"_target_": "lama.models.FFCResNetGenerator", "ngf": value}, "generator")


def test_a_nested_argument_is_checked_at_its_own_key():
    with pytest.raises(ValueError, match=r"masks\.samplers\.boxes\.margin: expected a whole number, got wide"):
        build(composed("base", "masks.samplers.boxes.margin=wide").masks, "masks")


def test_an_error_of_a_constructor_names_the_key_that_the_user_typed():
    with pytest.raises(ValueError, match=r"^masks\.samplers\.strokes: .*got 9, 5"):
        build(composed("base", "masks.samplers.strokes.min_times=9").masks, "masks")
    with pytest.raises(ValueError, match=r"^losses\.adversarial: extra_mask_weight_for_gen=3"):
        build({"_target_": "lama.losses.Objective", "adversarial": {
            "_target_": "lama.losses.NonSaturatingAdversarialLoss", "extra_mask_weight_for_gen": 3,
            "mask_as_fake_target": False}}, "losses")  # fmt: skip


def test_a_name_that_is_not_exported_is_named_with_its_init():
    with pytest.raises(ValueError, match=r"losses\.edges\._target_: 'lama\.losses\.EdgeLoss' .*__init__\.py.*__all__"):
        build({"_target_": "lama.losses.EdgeLoss"}, "losses.edges")


def test_a_loss_of_weight_zero_is_not_built_and_needs_no_weights():
    config = composed("lama-fourier", "losses.resnet_pl.weight=0")
    preflight(config)
    assert set(build(config.losses, "losses").terms) == {"l1", "adversarial", "feature_matching"}


def test_missing_weights_are_reported_before_anything_is_built():
    with pytest.raises(MissingWeightsError, match=r"weights\.ade20k_encoder: .*encoder_epoch_20\.pth is missing"):
        preflight(composed("lama-fourier"))


def test_lists_and_dicts_arrive_as_plain_python():
    trainer = build(composed("demo").trainer, "trainer")
    assert type(trainer) is dict


def run_with(monkeypatch, capsys, *argv, name="demo"):
    """Exit code and message of a command that builds the data of a training, with these arguments."""
    monkeypatch.setattr("sys.argv", ["bin/train.py", *argv])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def main(arguments):
        config = read(arguments, "", "training", name)
        preflight(config)
        build(config.data, "data")

    monkeypatch.setattr("lama.commands.train.main", main)
    with pytest.raises(SystemExit) as stop:
        run_verb("train")
    return stop.value.code, capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["data.batchsize=3"], "data.batchsize: unknown config key; did you mean data.batch_size?"),
        (["generater.ngf=3"], "generater.ngf: unknown config key; did you mean generator.ngf?"),
        (["losses.adversarial.mask_scale_mode=maxpool"], "+losses.adversarial.mask_scale_mode=VALUE"),
        (["losses.adversarial.no_such=1"], "losses.adversarial.no_such: unknown config key"),
        (
            ["data=folder", "data.path=docs", "masks=train_wide", "masks.samplers.strokes.min_times=9"],
            " masks.samplers.strokes: expected",
        ),
        (["+data.batchsize=3"], "data.batchsize: unknown key; did you mean batch_size?"),
        (["data=foldr"], "data=foldr: no such configuration; did you mean folder?; known: builtin"),
        (["logger=[tensorboard,cvs]"], "logger=cvs: no such configuration; did you mean csv?; known: csv, mlflow"),
        (["logger=[cvs]"], "logger=cvs: no such configuration; did you mean csv?"),
        (["data=folder"], "data.path: a value is required"),
        (["-cn", "lama-furier"], "-cn lama-furier: no such configuration; did you mean lama-fourier?"),
        (["-cn", "ablv2_work_md"], "-cn ablv2_work_md: no such configuration; that is lama-dilated here"),
        (["generator=ffc_resnet_075"], "generator=ffc_resnet_075: no such configuration; that is lama_fourier here"),
        (["data=folder", "data.path=/no/such/place"], "/no/such/place: no such folder"),
        (["data.batch_size=0"], "data.batch_size: expected at least 1, got 0"),
        (["data.path=(x"], "data.path=(x"),
        (["data.batch_size", "3"], "data.batch_size: expected KEY=VALUE"),
        (["--batch-size=3"], "--batch-size=3: unknown option"),
        (["--config-nam", "demo"], "--config-nam: unknown option; did you mean --config-name?"),
        (["-cn"], "--config-name: expected one argument"),
        (["--config-dir", "/no/such/place"], "--config-dir /no/such/place: no such folder"),
    ],
)
def test_a_mistake_in_a_command_is_one_line_and_exit_code_2(monkeypatch, capsys, argv, expected):
    code, message = run_with(monkeypatch, capsys, *argv)
    assert code == 2
    assert expected in message
    assert len(message.splitlines()) == 1
    assert message.startswith("error: ")


def test_a_training_must_be_chosen(monkeypatch, capsys):
    code, message = run_with(monkeypatch, capsys, name=None)
    assert code == 2
    assert message.startswith("error: -cn NAME: ")
    assert "known: big-lama, " in message
    assert "base," not in message


def test_official_names_lead_to_configurations_that_exist_and_are_documented(root):
    names = OmegaConf.to_container(OmegaConf.load(CONFIGS / "official_names.yaml"))
    table = (root / "docs" / "configs.md").read_text()
    for group, entries in names.items():
        for official, ours in entries.items():
            assert f"`{official}`" in table or f"={official}`" in table, official
            first, *overrides = ours.split()
            for override in overrides + ([first] if "=" in first else []):
                option, _, choice = override.partition("=")
                assert (CONFIGS / "training" / option / f"{choice}.yaml").is_file(), override
            if "=" not in first:
                folder = CONFIGS / "training" / ("" if group == "primary" else group)
                assert (folder / f"{first}.yaml").is_file(), first


def test_a_bug_is_a_traceback(monkeypatch):
    def main(arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr("lama.commands.train.main", main)
    with pytest.raises(RuntimeError, match="a bug"):
        run_verb("train", [])


def test_an_error_of_a_loader_worker_is_one_line():
    text = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback:\n  File x\nValueError: a.jpg: bad"
    assert one_line(ValueError(text)) == "a.jpg: bad"


PUBLISHED = {  # from the official configurations: what each of ours must set
    "lama-fourier": {
        "generator.n_blocks": 9, "generator.ngf": 64, "generator.ratio": 0.75, "generator.n_downsampling": 3,
        "discriminator.ndf": 64, "discriminator.n_layers": 4,
        "optimizers.generator.lr": 1e-3, "optimizers.discriminator.lr": 1e-4, "trainer.max_epochs": 40,
        "data.epoch_batches": 25000, "data.batch_size": 10, "augment.size": 256,
        "losses.l1.weight_known": 10, "losses.l1.weight_missing": 0, "losses.adversarial.weight": 10,
        "losses.adversarial.gp_coef": 0.001, "losses.adversarial.mask_as_fake_target": True,
        "losses.feature_matching.weight": 100, "losses.resnet_pl.weight": 30, "losses.resnet_pl.batch_statistics": True,
        "recipe.second_generator_forward": True, "recipe.one_more_stroke": True, "recipe.clip_norm": 1.0,
        "recipe.ema_decay": None, "recipe.cosine_lr": False,
        "masks.weights": {"strokes": 1, "boxes": 1},
        "masks.samplers.strokes.max_angle": 4, "masks.samplers.strokes.max_len": 200,
        "masks.samplers.strokes.max_width": 100, "masks.samplers.strokes.min_times": 1,
        "masks.samplers.strokes.max_times": 5, "masks.samplers.strokes.one_more": True,
        "masks.samplers.boxes.margin": 10, "masks.samplers.boxes.min_size": 30, "masks.samplers.boxes.max_size": 150,
        "masks.samplers.boxes.min_times": 1, "masks.samplers.boxes.max_times": 4,
        "augment._target_": "lama.data.Distortions",
    },
    "big-lama": {"generator.n_blocks": 18},
    "lama-fourier-shallow": {"generator.n_blocks": 6},
    "lama-regular": {"generator._target_": "lama.models.ResNetGenerator", "generator.n_blocks": 9},
    "big-lama-regular": {"generator._target_": "lama.models.ResNetGenerator", "generator.n_blocks": 15},
    "lama-dilated": {"generator._target_": "lama.models.DilatedResNetGenerator", "generator.n_dilations": 4},
    "lama-regular-classification-dilated": {
        "losses.resnet_pl.weight": 1, "losses.resnet_pl.trained_on": "imagenet", "losses.resnet_pl.dilated": None,
    },
    "lama-regular-classification-plain": {
        "losses.resnet_pl.weight": 0.3, "losses.resnet_pl.trained_on": "imagenet", "losses.resnet_pl.dilated": False,
    },
    "lama-regular-segmentation-plain": {
        "losses.resnet_pl.weight": 30, "losses.resnet_pl.trained_on": None, "losses.resnet_pl.dilated": False,
    },
    "lama-regular-vgg": {"losses.perceptual.weight": 0.03, "losses.resnet_pl.weight": 0},
    "lama-regular-no-perceptual": {"losses.resnet_pl.weight": 0, "losses.perceptual": None},
    "lama-regular-no-feature-matching": {"losses.feature_matching.weight": 0, "losses.resnet_pl.weight": 30},
    "lama_small_train_masks": {
        "generator._target_": "lama.models.ResNetGenerator", "augment._target_": "lama.data.ScaleCrop",
        "masks.weights": {"strokes": 1, "boxes": 1},
        "masks.samplers.strokes.max_len": 80, "masks.samplers.strokes.max_width": 40,
        "masks.samplers.strokes.min_times": 4, "masks.samplers.strokes.max_times": 12,
        "masks.samplers.boxes.margin": 0, "masks.samplers.boxes.min_size": 30, "masks.samplers.boxes.max_size": 128,
        "masks.samplers.boxes.min_times": 1, "masks.samplers.boxes.max_times": 1,
    },
    "lama-fourier-celeba": {
        "data.batch_size": 5, "data.epoch_batches": None, "augment._target_": "lama.data.NoAugmentation",
        "data.path": "celeba-hq-dataset/train_256", "data.val_pairs": "celeba-hq-dataset/val_256",
        "generator.n_blocks": 9, "trainer.max_epochs": 40,
    },
    "lama-regular-celeba": {"generator._target_": "lama.models.ResNetGenerator", "data.batch_size": 5},
    "big-lama-celeba": {"generator.n_blocks": 18, "data.batch_size": 5},
    "big-lama-regular-celeba": {"generator.n_blocks": 15, "data.batch_size": 5},
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_configuration_is_the_published_one(name):
    config = composed(name)
    ours = {key: OmegaConf.select(config, key) for key in PUBLISHED[name]}
    assert ours == PUBLISHED[name]


def test_every_configuration_of_the_paper_is_compared_with_the_published_one():
    assert set(PUBLISHED) == set(TRAININGS) - {
        "base",
        "demo",
        "demo-finetune",
        "finetune",
        "lama-small",
        "lama-small-2",
    }


def test_the_modern_recipe_differs_where_the_documentation_says(root):
    official, modern = (composed("base", f"recipe={name}").recipe for name in ("official", "modern"))
    differ = {key for key in official if official[key] != modern[key]}
    assert differ == {"second_generator_forward", "hrf_batch_statistics", "one_more_stroke", "ema_decay"}
    text = (root / "docs" / "recipes.md").read_text()
    assert all(f"`recipe.{key}`" in text for key in official)


@pytest.mark.parametrize("value", ["no", "1", "null", "maybe"])
def test_switches_are_true_or_false(value):
    from lama.config import flag

    with pytest.raises(ValueError, match=r"overwrite=.*: expected true or false"):
        flag(composed("demo", f"overwrite={value}"), "overwrite")
    assert flag(composed("demo", "overwrite=true"), "overwrite") is True


def test_options_of_the_recipe_have_types(surroundings):
    with pytest.raises(ValueError, match=r"recipe\.clip_norm: expected a number, got much"):
        build_module(composed("demo", "recipe.clip_norm=much"))


def test_a_command_leaves_no_mark_in_the_environment(monkeypatch):
    """Its child processes would print tracebacks in place of one line."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before, argv = dict(os.environ), list(sys.argv)
    with pytest.raises(SystemExit):
        run_verb("tables", ["runs=nowhere", "out=nowhere"])
    assert (dict(os.environ), sys.argv) == (before, argv)


def test_a_traceback_for_whoever_asks_for_it(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="foldr"):
        run_verb("train", ["-cn", "demo", "data=foldr"])


def test_config_dir_adds_configurations(tmp_path, monkeypatch, capsys):
    (tmp_path / "location").mkdir()
    (tmp_path / "location" / "mine.yaml").write_text("data_root_dir: here\nout_root_dir: there\n")
    (tmp_path / "mine.yaml").write_text("defaults: [demo, _self_]\nseed: 7\n")
    config = read(["-cn", "mine", "-cd", str(tmp_path), "location=mine"], "", "training", None)
    assert (config.seed, config.location.data_root_dir) == (7, "here")


def test_choices_of_config_dir_are_known_to_messages(tmp_path):
    for file in ("losses/laplace.yaml", "sweep/mine.yaml", "paper.yaml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("defaults: [demo]\n" if file == "paper.yaml" else "a: 1\n")
    for group, name, overrides, message in (
        ("training", "demo", ["losses=laplce"], r"^losses=laplce: .*did you mean laplace\?; known: .* lama, laplace, "),
        ("training", "demo", ["losses=null"], r"^losses=null: .* lama, laplace, "),
        ("training", "papr", [], r"^-cn papr: .*did you mean paper\?; known: .*lama-fourier, .*paper"),
        ("sweep", "default", ["sweep=mien"], r"^sweep=mien: .*did you mean mine\?; known: claims, mine, "),
    ):
        with pytest.raises(ValueError, match=message):
            compose(group, name, overrides, str(tmp_path))


def test_cfg_prints_the_configuration(capsys):
    with pytest.raises(SystemExit) as stop:
        run_verb("train", ["-cn", "demo", "seed=3", "--cfg", "job"])
    assert stop.value.code == 0
    assert OmegaConf.create(capsys.readouterr().out).seed == 3


@pytest.mark.parametrize("value", ["1e-3,1e-4", "choice(1e-3,1e-4)", "range(1,3)"])
def test_several_values_are_refused_with_the_way_to_do_it(value):
    with pytest.raises(ValueError, match=r"optimizers\.generator\.lr=.*-m sweep=seeds row=demo"):
        compose("training", "demo", [f"optimizers.generator.lr={value}"])
    assert list(compose("training", "demo", ["augment.size=[64,48]"]).augment.size) == [64, 48]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizers.generator.lr=-1", r"^optimizers\.generator: invalid learning rate: -1"),
        ("optimizers.generator.lr=0", r"^optimizers\.generator\.lr=0: "),
        ("optimizers.discriminator.lr=nan", r"^optimizers\.discriminator: "),
        ("optimizers.generator.lr=inf", r"^optimizers\.generator\.lr=inf: "),
        ("+optimizers.generator.betas=[0.9,1.5]", r"^optimizers\.generator: "),
        ("+optimizers.generator.eps=-1", r"^optimizers\.generator: "),
        ("+optimizers.generator.weight_decay=inf", r"^optimizers\.generator\.weight_decay=inf: "),
    ],
)
def test_a_setting_that_an_optimiser_refuses_is_found_before_the_data_is_read(override, message):
    with pytest.raises(ValueError, match=message):
        check_plan(compose("training", "demo", [override]))
    check_plan(compose("training", "demo", ["optimizers.generator.lr=1e30", "+optimizers.generator.betas=[0.0,0.9]"]))


@pytest.mark.parametrize("key", ["path", "val_path", "val_pairs"])
def test_missing_data_is_found_before_a_network_is_fetched(tmp_path, monkeypatch, capsys, key):
    monkeypatch.setattr("lama.checkpoints.open_checkpoint", lambda *_: pytest.fail("the network was opened"))
    (tmp_path / "there").mkdir()
    data = {"path": tmp_path / "there"} | {key: tmp_path / "missing"}
    arguments = ["-cn", "finetune", "init_from=big-lama", *(f"data.{name}={place}" for name, place in data.items())]
    with pytest.raises(SystemExit):
        run_verb("train", arguments)
    assert re.fullmatch(rf"error: data\.{key}, .*missing: .*\n", capsys.readouterr().err)


def test_a_place_for_results_is_checked_before_a_network_is_opened(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        pytest.fail("the network was opened")

    for name in ("lama.load", "lama.checkpoints.load_generator", "lama.export.model.load_generator",
                 "lama.checkpoints.conversion.open_checkpoint"):  # fmt: skip
        monkeypatch.setattr(name, fail, raising=False)
    (tmp_path / "file").touch()
    for name in ("a.png", "a_mask001.png"):
        Image.new("L", (40, 40), 255).save(tmp_path / name)
    out = f"{tmp_path}/file/out"
    for verb, arguments in (
        ("predict", ["model.path=big-lama", f"indir={tmp_path}", f"outdir={out}"]),
        ("evaluate", ["model.path=big-lama", f"indir={tmp_path}", f"outdir={out}", "metrics=quick"]),
        ("export", ["model.path=big-lama", "format=torchscript", f"out={out}/a.pt"]),
        ("convert", ["src=big-lama", f"dst={out}/a.safetensors"]),
    ):
        with pytest.raises(SystemExit):
            run_verb(verb, arguments)
        assert re.fullmatch(rf"error: .*{tmp_path}/file.*\n", capsys.readouterr().err), verb


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("losses.feature_matching=10", r"losses\.feature_matching=10: .*losses\.feature_matching\.weight="),
        ("losses.l1=3", r"losses\.l1=3: .*losses\.l1\.weight_known=.*0 switches"),
        ("+losses.gradient=3", r"losses\.gradient=3: .*_target_"),
        ("losses.adversarial=true", r"losses\.adversarial=True"),
        ("losses.l1=off", r"losses\.l1="),
    ],
)
def test_a_number_in_place_of_a_loss_term_names_its_keys(override, what):
    with pytest.raises(ValueError, match=what) as caught:
        preflight(composed("demo", override))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["losses.l1=0", "losses.feature_matching=0.0", "losses.feature_matching=null"])
def test_0_in_place_of_a_loss_term_switches_it_off(override):
    objective = build(composed("demo", override).losses, "losses")
    assert set(objective.terms) == {"l1", "adversarial", "feature_matching"} - {override.split("=")[0].split(".")[1]}


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("masks=null", r"^masks=null: expected one of .*train_wide"),
        ("masks@val_masks=null", r"^masks@val_masks=null: expected one of .*train_wide"),
        ("logger=null", r"^logger=null: expected one of csv, mlflow, tensorboard, wandb"),
    ],
)
def test_null_in_place_of_a_choice_names_the_choices(override, what):
    with pytest.raises(ValueError, match=what):
        compose("training", "demo", [override])


def test_photographs_of_your_own_need_a_source_and_the_message_says_which():
    with pytest.raises(ValueError, match=r"'photos'; .*data=folder"):
        build(composed("demo", "data.path=photos").data, "data")


def test_the_hardware_of_the_command_line_wins_over_the_configuration_and_a_key_over_both():
    config = read(["-cn", "demo", "hardware=h200"], "", "training", None)
    assert config.data.batch_size == OmegaConf.load(CONFIGS / "training/hardware/h200.yaml").data.batch_size
    assert config.data.epoch_size == composed("demo").data.epoch_size  # of the configuration: hardware has none
    config = read(["-cn", "lama-small", "hardware=gpu_8gb", "data.batch_size=3"], "", "training", None)
    assert (config.data.batch_size, config.recipe.accumulate, config.trainer.precision) == (3, 2, "bf16-mixed")


def test_a_dry_run_names_a_missing_file_and_fetches_nothing(monkeypatch, capsys, tmp_path):
    from lama.commands import train

    fetched = []
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("lama.pretrained.fetch._get", lambda url, *_: fetched.append(url))
    with pytest.raises(MissingWeightsError, match=r"is missing.*dry_run=true fetches nothing, the training would"):
        train.main(["-cn", "lama-fourier", "dry_run=true", "data=builtin", "data.path=train", "losses=vgg"])
    assert fetched == []
    assert not (tmp_path / "weights").exists()

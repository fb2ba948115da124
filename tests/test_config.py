"""Configurations: each composes and builds; the gate to objects; errors in one line."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from lama.config import CONFIGS, build, one_line, preflight, run, to_yaml
from lama.pretrained import MissingWeightsError

TRAININGS = sorted(path.stem for path in (CONFIGS / "training").glob("*.yaml"))
GROUPS = sorted(
    (folder.name, path.stem)
    for folder in (CONFIGS / "training").iterdir()
    if folder.is_dir()
    for path in folder.glob("*.yaml")
)


def composed(name="demo", *overrides, group="training"):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS / group), version_base="1.3"):
        return compose(name, overrides=list(overrides))


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_config_composes_and_builds_at_reduced_width(name):
    config = composed(name, "losses=no_perceptual", "generator.ngf=4", "generator.n_blocks=1", "data=builtin")
    assert to_yaml(config)
    generator = build(config.generator, "generator")
    assert generator(torch.rand(1, 4, 32, 32)).shape == (1, 3, 32, 32)
    for key in ("discriminator", "losses", "optimizers", "evaluator", "trainer", "data"):
        build(config[key], key)


@pytest.mark.parametrize(("group", "option"), GROUPS)
def test_every_option_of_every_group_composes(group, option):
    override = "masks@val_masks" if group == "val_masks" else group
    config = composed("base", f"{override}={option}", *(["data.path=somewhere"] if option == "folder" else []))
    assert to_yaml(config)


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
    "target", ["os.system", "subprocess.run", "builtins.eval", "lama.config.os.system", "torch.optim.sys.exit",
               "pytorch_lightning.os.system", "lama.models.torch.load", "lama.evaluation.evaluator.pretrained.require"]
)  # fmt: skip
def test_the_gate_refuses_what_is_no_public_name(target):
    with pytest.raises(ValueError, match=r"thing\._target_"):
        build({"_target_": target}, "thing")


def test_unknown_argument_names_its_key_and_the_nearest():
    with pytest.raises(ValueError, match=r"generator\.n_block: unknown key; did you mean n_blocks\?"):
        build({"_target_": "lama.models.FFCResNetGenerator", "n_block": 1}, "generator")


@pytest.mark.parametrize(("value", "kind"), [("ten", "int"), (1.5, "int"), (True, "int"), (None, "int")])
def test_a_value_of_another_type_names_its_key(value, kind):
    with pytest.raises(ValueError, match=rf"generator\.ngf: expected {kind}, got"):
        build({"_target_": "lama.models.FFCResNetGenerator", "ngf": value}, "generator")


def test_a_nested_argument_is_checked_at_its_own_key():
    with pytest.raises(ValueError, match=r"masks\.samplers\.boxes\.margin: expected int, got 'wide'"):
        build(composed("base", "masks.samplers.boxes.margin=wide").masks, "masks")


def test_a_loss_of_weight_zero_is_not_built_and_needs_no_weights():
    config = composed("lama-fourier", "losses.resnet_pl.weight=0")
    preflight(config)
    assert set(build(config.losses, "losses").terms) == {"l1", "adversarial", "feature_matching"}


def test_missing_weights_are_said_before_anything_is_built():
    with pytest.raises(MissingWeightsError, match=r"weights\.ade20k_encoder: .*encoder_epoch_20\.pth is missing"):
        preflight(composed("lama-fourier"))


def test_lists_and_dicts_arrive_as_plain_python():
    trainer = build(composed("demo").trainer, "trainer")
    assert type(trainer) is dict


def run_with(monkeypatch, capsys, *argv, name="demo"):
    monkeypatch.setattr("sys.argv", ["bin/train.py", *argv])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    GlobalHydra.instance().clear()

    def main(config):
        preflight(config)
        build(config.data, "data")

    with pytest.raises(SystemExit) as stop:
        run(main, "training", name)
    return stop.value.code, capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["data.batchsize=3"], "data.batchsize: unknown config key; did you mean data.batch_size?"),
        (["generater.ngf=3"], "generater.ngf: unknown config key; did you mean generator.ngf?"),
        (["+data.batchsize=3"], "data.batchsize: unknown key; did you mean batch_size?"),
        (["data=foldr"], "Could not find 'data/foldr'"),
        (["data=folder"], "data.path: a value is required"),
        (["-cn", "lama-furier"], "lama-furier"),
        (["data=folder", "data.path=/no/such/place"], "/no/such/place: no such folder"),
        (["data.batch_size=0"], "data.batch_size: expected at least 1, got 0"),
        (["data.path=(x"], "data.path=(x"),
    ],
)
def test_what_a_user_got_wrong_is_one_line_and_exit_code_2(monkeypatch, capsys, argv, expected):
    code, message = run_with(monkeypatch, capsys, *argv)
    assert code == 2
    assert expected in message
    assert len(message.splitlines()) == 1
    assert message.startswith("error: ")


def test_a_bug_is_a_traceback(monkeypatch):
    monkeypatch.setattr("sys.argv", ["bin/train.py"])

    def main(config):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(main, "training", "demo")


def test_an_error_of_a_loader_worker_is_one_line():
    text = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback:\n  File x\nValueError: a.jpg: bad"
    assert one_line(ValueError(text), str(CONFIGS / "training"), "demo", []) == "a.jpg: bad"

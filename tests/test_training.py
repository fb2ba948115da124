"""The training step, and the files of a run folder."""

import copy
import json
import shlex

import numpy as np
import pytest
import torch
from trainings import TRAINER, a_batch, fit, make_data, make_module, norms, run_into

from lama.checkpoints import load_generator
from lama.masks import Boxes, Inverted
from lama.runs import train
from lama.runs.callbacks import read_metrics

EMPTY = Boxes(margin=2, min_size=8, max_size=16, max_times=0)


def test_two_optimisers_step_once_per_batch_each():
    module = make_module()
    before = copy.deepcopy(module.state_dict())
    fit(module, [a_batch()])
    changed = {k.split(".")[0] for k, v in module.state_dict().items() if not torch.equal(v, before[k])}
    assert {"generator", "discriminator"} <= changed
    assert int(module.iteration) == 1
    counts = [{int(s["step"]) for s in o.state.values()} for o in module.trainer.optimizers]
    assert counts == [{1}, {1}]


@pytest.mark.parametrize(("second", "forwards"), [(True, 2), (False, 1)])
def test_second_generator_forward_updates_batchnorm_again(second, forwards):
    module = fit(make_module(second_generator_forward=second), [a_batch()])
    assert int(module.generator.model[1].bn_l.num_batches_tracked) == forwards


def test_gradients_of_each_optimiser_are_clipped():
    module = make_module(clip_norm=1e-3)
    seen = []
    step = torch.optim.Adam.step

    def spy(self, *args, **kwargs):
        gradients = [p.grad.norm() for group in self.param_groups for p in group["params"] if p.grad is not None]
        seen.append(torch.stack(gradients).norm().item())
        return step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", spy)
        fit(module, [a_batch()])
    assert seen == pytest.approx([1e-3, 1e-3], rel=1e-3)


def test_the_discriminators_step_leaves_no_gradient_in_the_generator():
    module = fit(make_module(), [a_batch()])
    generator_gradients = [p.grad.clone() for p in module.generator.parameters()]
    module.configure_optimizers()
    image = a_batch()["image"].requires_grad_()
    module.discriminator(image)[0].sum().backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(generator_gradients, module.generator.parameters(), strict=True))


def test_ema_is_the_decayed_average_of_weights_and_buffers():
    decay, module = 0.23, make_module(ema_decay=0.23)
    history = []
    update = module.average.update_parameters

    def spy(network, made):
        history.append(copy.deepcopy(network.state_dict()))
        update(network, made)

    module.average.update_parameters = spy
    fit(module, [a_batch(i) for i in range(3)])
    key = "model.1.ffc.convl2l.weight"
    expected = history[0][key]
    for n, state in enumerate(history[1:], start=1):
        kept = min(decay, (1 + n) / (10 + n))  # 2/11 and 3/12: the initial weights are soon forgotten
        expected = kept * expected + (1 - kept) * state[key]
    torch.testing.assert_close(module.inference_generator.state_dict()[key], expected)
    buffer = "model.1.bn_l.running_mean"
    assert not torch.equal(module.inference_generator.state_dict()[buffer], module.generator.state_dict()[buffer])


def test_averaged_weights_have_the_layout_of_the_live_ones():
    module = make_module(ema_decay=0.9)
    pairs = zip(module.generator.state_dict().values(), module.average.module.state_dict().values(), strict=True)
    assert all(live.stride() == average.stride() for live, average in pairs)


def test_without_ema_the_generator_itself_is_used():
    module = make_module()
    assert module.inference_generator is module.generator


def test_ema_decay_out_of_range_is_an_error():
    with pytest.raises(ValueError, match=r"recipe\.ema_decay.*2"):
        make_module(ema_decay=2)


def test_training_is_reproducible():
    a, b = (fit(make_module(), [a_batch(i) for i in range(2)]) for _ in range(2))
    assert norms(a.generator) == norms(b.generator)


def test_a_run_folder_is_complete(tmp_path):
    run = run_into(tmp_path / "run")
    for name in ("config.yaml", "metrics.csv", "curves.png", "next_steps.txt", "summary.json", "train.log",
                 "models/best.safetensors", "models/last.safetensors", "checkpoints/last.ckpt"):  # fmt: skip
        assert (run / name).stat().st_size > 0, name
    assert list((run / "samples").glob("*.png"))
    assert list((run / "tensorboard").glob("events.*"))
    assert json.loads((run / "summary.json").read_text())["iterations"] == 2


def test_metrics_hold_training_and_validation_series(tmp_path):
    series = read_metrics(run_into(tmp_path / "run", trainer={"max_epochs": 5}) / "metrics.csv")
    assert {
        "train_gen_l1",
        "train_gen_adversarial",
        "train_discr_real_gp",
        "val_psnr_hole_total_mean",
        "val_ssim_total_std",
    } <= set(series)
    assert series["val_ssim_total_mean"][0] == [2, 4, 6, 8, 10]
    assert series["train_gen_l1"][0] == [10]


def test_exported_weights_are_those_that_were_validated(tmp_path):
    module = make_module(ema_decay=0.9)
    run = run_into(tmp_path / "run", module)
    exported = load_generator(run / "models" / "last.safetensors")
    for key, value in module.inference_generator.state_dict().items():
        assert torch.equal(exported.state_dict()[key], value), key


def test_checkpoints_hold_no_evaluator_and_no_frozen_network(tmp_path):
    run = run_into(tmp_path / "run")
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert {key.split(".")[0] for key in state} == {"generator", "discriminator", "iteration"}


def test_a_resumed_run_continues_its_iterations_and_order(tmp_path):
    whole = make_module(ema_decay=0.9)
    run_into(tmp_path / "whole", whole, trainer={"max_epochs": 2})
    run_into(tmp_path / "parts", make_module(ema_decay=0.9))
    resumed = make_module(ema_decay=0.9)
    last = str(tmp_path / "parts/checkpoints/last.ckpt")
    run_into(tmp_path / "parts", resumed, trainer={"max_epochs": 2}, resume=last)
    assert int(resumed.iteration) == 4
    for (key, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert read_metrics(tmp_path / "parts/metrics.csv")["val_ssim_total_mean"][0] == [2, 4]


def test_where_the_weights_come_from_is_in_the_log(tmp_path):
    run = run_into(tmp_path / "run", origin=["init_from: somewhere"])
    assert "init_from: somewhere" in (run / "train.log").read_text()


def test_next_steps_never_mix_a_resumption_with_something_else():
    from lama.runs.run import next_steps

    lines = next_steps("runs/x", "python bin/train.py -cn demo init_from=a init_parts=both", 3).splitlines()
    assert lines[3] == "python bin/train.py -cn demo init_from=a init_parts=both trainer.max_epochs=6"
    lines = next_steps("runs/x", "python bin/train.py -cn demo resume=b", 3).splitlines()
    assert lines[5] == "python bin/train.py -cn demo data=folder data.path=IMAGES run_dir=runs/mine"


def test_next_steps_name_plugins_and_folders_of_configurations_and_are_quoted():
    import shlex

    from lama.config import read
    from lama.runs.run import next_steps

    command = shlex.join(["lama", "train", "-cn", "mine", "--config-dir", "my configs", "plugins=[mine]"])
    run = "runs/é (1)"
    lines = next_steps(run, command, 3, plugins=["mine", "other"]).splitlines()[1::2]
    commands = {words[1]: words[2:] for words in map(shlex.split, lines) if words[0] == "lama"}
    assert all(
        "--config-dir my configs plugins=[mine]" in " ".join(shlex.split(line)) for line in lines if " train " in line
    )
    for verb, keys in {"evaluate": ("model.path",), "predict": ("model.path",), "report": ()}.items():
        words = [word for word in commands[verb] if not word.startswith("plugins=")]
        assert "plugins=[mine,other]" in commands[verb]
        group = {"predict": "prediction", "evaluate": "evaluation"}.get(verb, verb)
        config = read(words, "", group, paths=keys)
        assert (config.run if verb == "report" else config.model.path) == run


@pytest.mark.parametrize(("script", "folder"), [("bin/train.py", "bin"), ("'my code/bin/train.py'", "my code/bin")])
def test_next_steps_name_commands_from_where_the_training_was_started(script, folder):
    from lama.runs.run import next_steps

    lines = next_steps("runs/x", f"python {script} -cn demo", 3).splitlines()
    named = [shlex.split(line)[1] for line in lines if line.startswith("python") and "train.py" not in line]
    assert named == [f"{folder}/report.py", f"{folder}/evaluate.py", f"{folder}/predict.py"]


def test_a_run_is_replaced_only_with_overwrite(tmp_path):
    run_into(tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"run_dir=.*overwrite=true"):
        run_into(tmp_path / "run")
    run_into(tmp_path / "run", overwrite=True)
    assert read_metrics(tmp_path / "run/metrics.csv")["val_ssim_total_mean"][0] == [2]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"resume": "nowhere.ckpt"}, FileNotFoundError, r"resume=nowhere\.ckpt"),
        ({"resume": __file__}, ValueError, r"resume=.*test_training\.py: damaged"),
        ({"trainer": {"max_epochs": "abc"}}, ValueError, r"trainer\.max_epochs.*'abc'"),
        ({"trainer": {"precision": "16-mixed"}}, ValueError, r"trainer\.precision=16-mixed"),
        ({"trainer": {"deterministic": True}}, ValueError, r"trainer\.deterministic=True.*false or warn"),
        ({"trainer": {"precision": "64-true"}}, ValueError, r"trainer\.precision=64-true.*bf16-mixed.*32"),
        ({"trainer": {"devices": 1.5}}, ValueError, r"trainer\.devices=1\.5"),
        ({"trainer": {"max_epochs": -1}}, ValueError, r"trainer\.max_epochs.*-1"),
        (
            {"monitor": "val_fid"},
            ValueError,
            r"monitor=val_fid: ",
        ),
    ],
)
def test_a_run_refuses_before_it_starts_and_writes_nothing(tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        run_into(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_validation_images_of_any_size_are_padded_and_cropped():
    module = make_module().eval()
    image, mask = torch.rand(1, 3, 61, 83), torch.zeros(1, 1, 61, 83)
    mask[..., 10:20, 10:20] = 1
    with torch.no_grad():
        predicted, completed = module.complete(image, mask)
    assert predicted.shape == image.shape
    known = mask.expand_as(image) == 0
    assert torch.equal(completed[known], image[known])
    assert not np.allclose(completed.numpy(), image.numpy())


@pytest.mark.parametrize(("sampler", "what"), [(EMPTY, "nothing"), (Inverted(EMPTY), "all")])
def test_masks_that_hide_nothing_or_all_are_noticed_at_the_start(tmp_path, sampler, what):
    data = make_data()
    data.train_set.masks = sampler
    with pytest.raises(ValueError, match=f"masks: .* 10 .* {what}"):
        train(make_module(), data, TRAINER, tmp_path / "run", "", "")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("official", [True, False])
def test_a_published_training_made_short_is_a_warning(tmp_path, caplog, official):
    run_into(tmp_path / "run", make_module(second_generator_forward=official))
    short = [one for one in caplog.records if "1,000,000 iterations" in one.message and "epoch_batches" in one.message]
    assert [one.levelname for one in short] == ["WARNING"] * official

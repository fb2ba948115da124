"""Checkpoints of other programs: read without executing them, recognised by their weights, written back."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from formula import fill
from PIL import Image
from torch import nn

import lama
from lama.checkpoints import convert, load_generator, open_checkpoint, save_generator, save_official
from lama.models import DilatedResNetGenerator, FFCResNetGenerator, PatchDiscriminator, ResNetGenerator

NETWORKS = {
    "ffc": lambda: FFCResNetGenerator(ngf=8, n_blocks=2),
    "ffc, all global": lambda: FFCResNetGenerator(ngf=8, n_blocks=1, ratio=1.0),
    "ffc, odd ratio": lambda: FFCResNetGenerator(ngf=6, n_blocks=1, ratio=0.3, n_downsampling=2),
    "ffc, lfu": lambda: FFCResNetGenerator(ngf=16, n_blocks=1, enable_lfu=True),
    "ffc, capped": lambda: FFCResNetGenerator(ngf=8, n_blocks=1, max_features=24),
    "regular": lambda: ResNetGenerator(ngf=8, n_blocks=2, n_downsampling=2),
    "dilated": lambda: DilatedResNetGenerator(ngf=8, n_blocks=1, n_dilations=2),
}


class TrainingModule(nn.Module):
    """The networks of an official checkpoint: generator, discriminator and metric networks."""

    def __init__(self, generator, discriminator=None):
        super().__init__()
        self.generator = generator
        self.val_evaluator = nn.Linear(2, 2)
        if discriminator is not None:
            self.discriminator = discriminator

    def forward(self, image, mask):
        predicted = self.generator(torch.cat([image * (1 - mask), mask], dim=1))
        return mask * predicted + (1 - mask) * image


class JITWrapper(nn.Module):
    """As the official export wraps the training module, which makes the names ``model.generator.model...``."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image, mask):
        return self.model(image, mask)


class SomethingOfLightning:
    """Stands for ModelCheckpoint, OmegaConf's containers and other classes that official checkpoints refer to."""

    def __init__(self):
        self.value = {"nested": [1, 2]}


def lightning_checkpoint(path, generator, discriminator=None):
    """As Lightning 1.2 pickled it: classes as keys, objects as hyper-parameters."""
    content = {
        "epoch": 1, "global_step": 2, "pytorch-lightning_version": "1.2.9",
        "state_dict": TrainingModule(generator, discriminator).state_dict(),
        "callbacks": {SomethingOfLightning: {"best_model_path": "x"}},
        "hyper_parameters": SomethingOfLightning(),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def make_form(form, folder, generator):
    """The same generator in one of the forms that are read."""
    if form == "safetensors":
        save_generator(folder / "model.safetensors", generator)
        return folder / "model.safetensors"
    if form == "run folder":
        save_generator(folder / "run" / "models" / "best.safetensors", generator)
        return folder / "run"
    if form == "official folder":
        save_official(folder / "official", generator)
        lightning_checkpoint(folder / "official" / "models" / "best.ckpt", generator)
        return folder / "official"
    if form == "checkpoint":
        return lightning_checkpoint(folder / "epoch=1-step=2.ckpt", generator)
    if form == "state dict":
        torch.save(generator.state_dict(), folder / "generator.pth")
        return folder / "generator.pth"
    if form == "foreign safetensors":
        from safetensors.torch import save_file

        save_file(TrainingModule(generator).state_dict(), folder / "foreign.safetensors")
        return folder / "foreign.safetensors"
    assert form == "torchscript"
    example = torch.rand(1, 3, 120, 120), torch.rand(1, 1, 120, 120)
    torch.jit.trace(JITWrapper(TrainingModule(generator)).eval(), example, strict=False).save(
        str(folder / "big-lama.pt")
    )
    return folder / "big-lama.pt"


FORMS = [
    "safetensors",
    "run folder",
    "official folder",
    "checkpoint",
    "torchscript",
    "state dict",
    "foreign safetensors",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["ffc", "regular", "dilated"])
def test_the_same_network_loads_from_every_form(tmp_path, form, kind):
    generator = fill(NETWORKS[kind]()).eval()
    inpainter = lama.load(make_form(form, tmp_path, generator))
    assert type(inpainter.generator) is type(generator)
    x = torch.rand(1, 4, 80, 88)
    with torch.no_grad():
        assert torch.equal(inpainter.generator(x), generator(x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_architecture_is_told_from_the_weights(tmp_path, kind):
    generator = NETWORKS[kind]()
    torch.save(generator.state_dict(), tmp_path / "a.pth")
    loaded = load_generator(tmp_path / "a.pth")
    assert type(loaded) is type(generator)
    state, expected = loaded.state_dict(), generator.state_dict()
    assert all(torch.equal(state[key], value) for key, value in expected.items())


def test_half_precision_weights_become_single(tmp_path):
    torch.save({key: value.half() for key, value in NETWORKS["ffc"]().state_dict().items()}, tmp_path / "a.pth")
    assert {p.dtype for p in load_generator(tmp_path / "a.pth").parameters()} == {torch.float32}


def test_the_average_of_a_training_is_preferred(tmp_path):
    raw, average = NETWORKS["ffc"](), NETWORKS["ffc"]()
    state = {f"generator.{k}": v for k, v in raw.state_dict().items()}
    state |= {f"average.module.{k}": v for k, v in average.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    key = "model.1.ffc.convl2l.weight"
    assert torch.equal(load_generator(tmp_path / "last.ckpt").state_dict()[key], average.state_dict()[key])


class RunsCode:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, victim, how):
        self.victim, self.how = victim, how

    def __reduce__(self):
        if self.how == "os.system":
            return os.system, (f"touch {self.victim}",)
        if self.how == "eval":
            return eval, (f"open({str(self.victim)!r}, 'w').close()",)
        if self.how == "open":
            return open, (str(self.victim), "w")
        return exec, ("import json; json.victim = 1",)


@pytest.mark.parametrize("how", ["os.system", "eval", "open", "exec"])
@pytest.mark.parametrize("place", ["hyper_parameters", "state_dict", "key"])
def test_a_malicious_pickle_does_not_run(tmp_path, how, place):
    victim, generator = tmp_path / "victim", NETWORKS["ffc"]()
    state = OrderedDict((f"generator.{key}", value) for key, value in generator.state_dict().items())
    content = {"state_dict": state, "hyper_parameters": None}
    bad = RunsCode(victim, how)
    if place == "state_dict":
        state["generator.extra"] = bad
    elif place == "key":
        content[bad] = 1
    else:
        content["hyper_parameters"] = bad
    torch.save(content, tmp_path / "model.ckpt")
    loaded = load_generator(tmp_path / "model.ckpt")  # the weights are there all the same
    assert not victim.exists()
    assert not hasattr(json, "victim")
    key = "model.1.ffc.convl2l.weight"
    assert torch.equal(loaded.state_dict()[key], generator.state_dict()[key])


def test_a_bare_malicious_pickle_is_refused(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(pickle.dumps(RunsCode(tmp_path / "victim", "os.system")))
    refusal(tmp_path / "model.ckpt", "a bare pickle")
    assert not (tmp_path / "victim").exists()


def refusal(path, *parts):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_generator(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for part in parts:
        assert part in message
    return message


@pytest.fixture
def official(tmp_path):
    save_official(tmp_path / "model", fill(NETWORKS["ffc"]()), fill(PatchDiscriminator(ndf=8)))
    return tmp_path / "model"


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(official, share):
    file = official / "models" / "best.ckpt"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    refusal(official)


def test_a_flipped_bit_is_found(tmp_path):
    torch.save(fill(NETWORKS["ffc"]()).state_dict(), tmp_path / "a.pth")
    content = bytearray((tmp_path / "a.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.pth").write_bytes(content)
    refusal(tmp_path / "a.pth", "damaged")


def test_a_missing_key_is_named(tmp_path):
    state = fill(NETWORKS["ffc"]()).state_dict()
    del state["model.5.conv1.bn_g.running_var"]
    torch.save(state, tmp_path / "a.pth")
    refusal(tmp_path / "a.pth", "1 weights missing", "model.5.conv1.bn_g.running_var")


def test_a_key_of_another_shape_is_named(tmp_path):
    state = fill(NETWORKS["regular"]()).state_dict()
    state["model.5.weight"] = torch.zeros(7)
    torch.save(state, tmp_path / "a.pth")
    refusal(tmp_path / "a.pth", "another shape", "model.5.weight", "got (7,)")


def test_a_key_too_many_is_named(tmp_path):
    torch.save(fill(NETWORKS["ffc"]()).state_dict() | {"model.5.se.weight": torch.zeros(1)}, tmp_path / "a.pth")
    refusal(tmp_path / "a.pth", "1 weights too many", "model.5.se.weight")


@pytest.mark.parametrize(
    "content", [{"a": torch.zeros(3)}, {}, [1, 2], "text", {"state_dict": {"fc.weight": torch.zeros(2)}}]
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.ckpt")
    refusal(tmp_path / "a.ckpt")


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refusal(tmp_path / "a.ckpt", "not a checkpoint of torch")


def edit_config(folder, edit):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    edit(config["generator"])
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_blocks": 9}, "n_blocks 2 instead of 9"),
        ({"ngf": 64}, "ngf 8 instead of 64"),
        ({"kind": "pix2pixhd_global", "resnet_conv_kwargs": {}}, "a FFCResNetGenerator instead of a ResNetGenerator"),
        ({"add_out_act": "tanh"}, "generator.add_out_act=tanh: expected sigmoid"),
        ({"kind": "other"}, "generator.kind=other is unknown; known: ffc_resnet"),
        ({"spatial_transform_layers": [1]}, "generator.spatial_transform_layers=[1]: expected None"),
        ({"no_such_thing": 1}, "generator.no_such_thing=1: it is not supported"),
        (
            {"resnet_conv_kwargs": {"ratio_gin": 0.75, "enable_lfu": False, "fft_norm": "backward"}},
            "generator.resnet_conv_kwargs.fft_norm=backward: it is not supported",
        ),
        ({"resnet_conv_kwargs": [1]}, "generator.resnet_conv_kwargs: expected settings, got [1]"),
        ({"kind": ["a"]}, "generator.kind=['a'] is unknown"),
        ({"init_conv_kwargs": {"ratio_gout": 0.5}}, "generator.init_conv_kwargs.ratio_gout=0.5: expected 0"),
        ({"resnet_conv_kwargs": {"ratio_gin": 0.5, "enable_lfu": False}}, "ratio 0.75 instead of 0.5"),
        ({"resnet_conv_kwargs": {"ratio_gin": 0.75}}, "enable_lfu False instead of True"),
    ],
)
def test_a_config_of_another_network_is_refused(official, change, message):
    edit_config(official, lambda section: section.update(change))
    with pytest.raises(ValueError, match=r"config\.yaml") as caught:
        load_generator(official)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_that_is_no_yaml_is_refused(official):
    (official / "config.yaml").write_text("generator: [")
    with pytest.raises(ValueError, match=r"config\.yaml"):
        load_generator(official)


def test_references_between_keys_are_left_alone(official):
    edit_config(official, lambda section: section["resnet_conv_kwargs"].update(ratio_gout="${generator.x}"))
    edit_config(official, lambda section: section["resnet_conv_kwargs"].update(ratio_gin="${generator.x}"))
    load_generator(official)


def test_a_config_is_optional(official):
    (official / "config.yaml").unlink()
    load_generator(official)


@pytest.mark.parametrize(("blocks", "title"), [(9, "lama-fourier"), (18, "big-lama"), (6, "lama-fourier-shallow")])
def test_known_networks_are_recognised(blocks, title):
    from lama.checkpoints import looks_like

    description = "FFCResNetGenerator", {"n_blocks": blocks, "ngf": 64, "ratio": 0.75}
    assert looks_like(description) == title
    assert looks_like((description[0], description[1] | {"ratio": 0.5})) == ""


@pytest.mark.parametrize("src", FORMS)
@pytest.mark.parametrize("layout", ["a.safetensors", "folder"])
def test_conversion_keeps_every_bit(tmp_path, src, layout):
    generator = fill(NETWORKS["ffc"]())
    convert(make_form(src, tmp_path, generator), tmp_path / layout)
    state = load_generator(tmp_path / layout).state_dict()
    assert all(torch.equal(state[key], value) for key, value in generator.state_dict().items())


def test_the_discriminator_travels_too(tmp_path, official):
    for layout in ("a.safetensors", "folder"):
        lines = convert(official, tmp_path / layout, discriminator=True)
        assert any("PatchDiscriminator" in line for line in lines)
        built = open_checkpoint(tmp_path / layout).build("discriminator").state_dict()
        assert all(
            torch.equal(built[key], value) for key, value in fill(PatchDiscriminator(ndf=8)).state_dict().items()
        )
    convert(official, tmp_path / "alone.safetensors")
    with pytest.raises(ValueError, match="holds no discriminator of LaMa"):
        open_checkpoint(tmp_path / "alone.safetensors").build("discriminator")


def test_conversion_replaces_files_only_with_overwrite(tmp_path, official):
    convert(official, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=true"):
        convert(official, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == before
    convert(official, tmp_path / "a.safetensors", overwrite=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("a run's\n")
    with pytest.raises(FileExistsError, match="dst="):
        convert(official, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "config.yaml").read_text() == "a run's\n"


def test_a_conversion_that_fails_leaves_what_was_there(tmp_path, official, monkeypatch):
    convert(official, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()

    def differs(network, again):
        raise RuntimeError("differs")

    monkeypatch.setattr("lama.checkpoints.conversion._compare", differs)
    with pytest.raises(RuntimeError, match="differs"):
        convert(official, tmp_path / "a.safetensors", overwrite=True)
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "model"]


def test_parts_that_are_not_converted_are_reported(tmp_path, official):
    assert convert(official, tmp_path / "a.safetensors")[-1] == (
        "  discriminator: left out; discriminator=true keeps it"
    )


def test_weights_that_are_not_finite_are_refused(tmp_path):
    state = fill(NETWORKS["ffc"]()).state_dict()
    state["model.5.conv1.bn_g.weight"][3] = float("nan")
    torch.save(state, tmp_path / "a.pth")
    refusal(tmp_path / "a.pth", "1 weights hold NaN or infinity", "model.5.conv1.bn_g.weight")


@pytest.mark.parametrize(
    "edit", [lambda section: section.pop("add_out_act"), lambda section: section.update(add_out_act=True)]
)
def test_a_tanh_network_is_refused(official, edit):
    """The official default, without a setting."""
    edit_config(official, edit)
    with pytest.raises(ValueError, match=r"generator\.add_out_act=True: expected sigmoid"):
        load_generator(official)


@pytest.mark.parametrize("setting", [{"comb_mode": "sum"}, {"min_dilation": 2}, {"shared_weights": True}, {}])
def test_another_way_to_dilate_is_refused(tmp_path, setting):
    save_official(tmp_path / "a", fill(DilatedResNetGenerator(ngf=8, n_blocks=1)))
    load_generator(tmp_path / "a")
    options = {"comb_mode": "cat_in", "dilation_num": 4} | setting if setting else {"dilation_num": 4}
    edit_config(tmp_path / "a", lambda section: section.update(multidilation_kwargs=options))
    with pytest.raises(ValueError, match=r"generator\.multidilation_kwargs\."):
        load_generator(tmp_path / "a")


def test_explicit_official_defaults_are_accepted(official):
    edit_config(official, lambda section: section.update(norm_layer="bn", padding_type="reflect", max_features=512))
    load_generator(official)  # 512 channels are not reached, so 512 and 1024 are the same network


@pytest.mark.parametrize("options", [{"ratio": 0.3}, {"max_features": 40}, {"enable_lfu": True, "ngf": 16}])
def test_every_network_survives_the_official_layout(tmp_path, options):
    generator = fill(FFCResNetGenerator(**{"ngf": 8, "n_blocks": 1} | options))
    convert(make_form("safetensors", tmp_path, generator), tmp_path / "official")
    state = load_generator(tmp_path / "official").state_dict()
    assert all(torch.equal(state[key], value) for key, value in generator.state_dict().items())


def test_a_decoder_that_the_official_code_lacks_is_told_from_the_weights_and_not_written_in_its_layout(tmp_path):
    generator = fill(FFCResNetGenerator(ngf=8, n_blocks=1, upsampling="resize"))
    torch.save(generator.state_dict(), tmp_path / "a.pth")
    assert load_generator(tmp_path / "a.pth").config == generator.config
    with pytest.raises(ValueError, match="the official code has no upsampling=resize"):
        convert(tmp_path / "a.pth", tmp_path / "official")
    assert not (tmp_path / "official").exists()


def test_the_written_discriminator_section_is_the_networks(official):
    assert yaml.safe_load((official / "config.yaml").read_text())["discriminator"]["ndf"] == 8


def test_views_parameters_and_bfloat16_are_read_as_they_are(tmp_path):
    generator = fill(NETWORKS["regular"]())
    state = dict(generator.state_dict())
    base = torch.cat([torch.zeros(5), state["model.5.weight"], torch.zeros(3)])
    state["model.5.weight"] = base[5 : 5 + len(state["model.5.weight"])]  # an offset in a larger storage
    state["model.4.weight"] = state["model.4.weight"].transpose(2, 3).contiguous().transpose(2, 3)  # other strides
    state["model.7.weight"] = nn.Parameter(state["model.7.weight"])
    state["model.7.bias"] = state["model.7.bias"].bfloat16()
    torch.save(state, tmp_path / "a.pth")
    loaded = load_generator(tmp_path / "a.pth").state_dict()
    for key in ("model.4.weight", "model.5.weight", "model.7.weight"):
        assert torch.equal(loaded[key], generator.state_dict()[key]), key
    assert torch.equal(loaded["model.7.bias"], generator.state_dict()["model.7.bias"].bfloat16().float())


def test_data_parallel_weights_load_and_stray_configs_are_ignored(tmp_path):
    generator = fill(NETWORKS["ffc"]())
    (tmp_path / "deep").mkdir()
    (tmp_path / "config.yaml").write_text("something: else\n")
    torch.save(nn.DataParallel(generator).state_dict(), tmp_path / "deep" / "a.pth")
    load_generator(tmp_path / "deep" / "a.pth")


def test_the_generator_itself_comes_before_any_other_of_that_name(tmp_path):
    teacher, generator = fill(NETWORKS["ffc"](), seed=1), fill(NETWORKS["ffc"]())
    state = {f"teacher.generator.{k}": v for k, v in teacher.state_dict().items()}
    torch.save(state | {f"generator.{k}": v for k, v in generator.state_dict().items()}, tmp_path / "a.ckpt")
    key = "model.1.ffc.convl2l.weight"
    assert torch.equal(load_generator(tmp_path / "a.ckpt").state_dict()[key], generator.state_dict()[key])
    torch.save(state | {f"student.generator.{k}": v for k, v in generator.state_dict().items()}, tmp_path / "a.ckpt")
    refusal(tmp_path / "a.ckpt", "several networks", "student.generator.", "teacher.generator.")


def test_counters_of_batches_may_be_missing(tmp_path, caplog):
    state = {k: v for k, v in fill(NETWORKS["ffc"]()).state_dict().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "a.pth")
    load_generator(tmp_path / "a.pth")
    assert "no num_batches_tracked" in caplog.text


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    state = fill(NETWORKS["ffc"]()).state_dict()
    state["model.5.conv1.bn_g.weight"] = state["model.5.conv1.bn_g.weight"].long()
    torch.save(state, tmp_path / "a.pth")
    refusal(tmp_path / "a.pth", "model.5.conv1.bn_g.weight holds torch.int64")


def raw_checkpoint(path, pickled, **records):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in records.items():
            archive.writestr(f"archive/{name}", content)
    return path


def loops():
    content = {}
    content |= {str(i): content for i in range(10)} | {"self": content}
    for i in range(10):
        content[str(i)] = content
    return pickle.dumps(content)


@pytest.mark.parametrize(
    "pickled",
    [
        loops(),
        b"\x80\x04N" + b"\x85" * 200000 + b".",  # nested tuples
        b"\x80\x04Nr" + (2**31 - 1).to_bytes(4, "little") + b".",  # an absurd memo
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02\x82\x01.",  # an extension code
        b"garbage",
        b"",
    ],
)  # fmt: skip
def test_hostile_pickles_end_in_one_line(tmp_path, pickled):
    refusal(raw_checkpoint(tmp_path / "a.ckpt", pickled))


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save(fill(NETWORKS["ffc"]()).state_dict(), tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    refusal(tmp_path / "b.pth", "compressed")


def test_absurd_sizes_are_refused_before_anything_is_built(tmp_path):
    state = {"model.1.ffc.convl2l.weight": torch.zeros(4, 4, 7, 7), "model.100002.conv1.x": torch.zeros(1),
             "model.100001.ffc.convl2g.weight": torch.zeros(1), "model.100001.ffc.convl2l.weight": torch.zeros(1),
             "model.100003.weight": torch.zeros(3)}  # fmt: skip
    torch.save(state, tmp_path / "a.pth")
    refusal(tmp_path / "a.pth", "no network of LaMa has")


def test_a_foreign_safetensors_file_is_compared_with_its_config(tmp_path, official):
    path = make_form("foreign safetensors", official, fill(FFCResNetGenerator(ngf=8, n_blocks=1)))
    with pytest.raises(ValueError, match="n_blocks 1 instead of 2"):
        load_generator(path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.ckpt").touch()
    refusal(tmp_path / "a.ckpt", "an empty file")


@pytest.mark.parametrize("dst", ["a.ckpt", "a.pt", "a.pth"])
def test_conversion_to_an_unknown_layout_is_refused(tmp_path, official, dst):
    with pytest.raises(ValueError, match=r"dst=.*\.safetensors"):
        convert(official, tmp_path / dst)


def test_torch_load_reads_the_official_layout(official):
    """Other tools read the official layout with torch.load."""
    state = torch.load(official / "models" / "best.ckpt", weights_only=True)["state_dict"]
    assert {key.split(".")[0] for key in state} == {"generator", "discriminator"}
    config = yaml.safe_load((official / "config.yaml").read_text())
    assert config["generator"]["resnet_conv_kwargs"]["ratio_gin"] == 0.75


def test_the_official_example_gives_the_official_result(shared):
    """Floats to 1e-5; bytes to 1, since the official program truncates and we round."""
    tiny = shared / "parity" / "official_tiny"
    image = np.array(Image.open(tiny / "input" / "photo.png").convert("RGB"))
    mask = np.array(Image.open(tiny / "input" / "photo_mask001.png").convert("L")) > 0
    expected = np.load(tiny / "expected.npz")
    for path in (tiny, tiny / "models" / "best.ckpt", tiny / "models" / "with_discriminator.ckpt"):
        inpainter = lama.load(path)
        tensor = torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float() / 255
        hole = torch.from_numpy(mask[None, None].copy()).float()
        predicted = inpainter.predict(tensor, hole)
        completed = (hole * predicted + (1 - hole) * tensor)[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(completed, expected["inpainted_float"], atol=1e-5, rtol=0)
        difference = inpainter(image, mask).astype(int) - expected["inpainted_uint8"]
        assert difference.min() >= 0
        assert difference.max() <= 1
        assert np.abs(difference[~mask]).max() == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("form", ["official folder", "torchscript"])
def test_big_lama_loads_in_little_memory(tmp_path, form):
    """1 GB, interpreter and torch included."""
    make_form(form, tmp_path, FFCResNetGenerator(n_blocks=18))
    path = tmp_path / ("official" if form == "official folder" else "big-lama.pt")
    code = (  # ru_maxrss would count the parent's memory at the fork
        "import pathlib, sys, lama\n"
        "assert lama.load(sys.argv[1]).generator.config['n_blocks'] == 18\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(next(line.split()[1] for line in status.splitlines() if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1024 * 1024

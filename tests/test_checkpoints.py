"""Our checkpoint: written atomically, read back exactly; other files are refused in one line."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lama.checkpoints import find_weights, load_generator, save_generator
from lama.models import FFCResNetGenerator


@pytest.fixture
def file(tmp_path, tiny_generator):
    save_generator(tmp_path / "model.safetensors", tiny_generator, {"step": 7})
    return tmp_path / "model.safetensors"


def write(path, generator=None, state=None, **metadata):
    """A safetensors file with a description of our choice."""
    description = {"format": "lama-generator-1", "generator": json.dumps(generator)} | metadata
    save_file(state or {"x": torch.zeros(1)}, path, {key: value for key, value in description.items() if value})
    return path


def refusal(path, error=ValueError):
    """The one-line message with which ``path`` is refused."""
    with pytest.raises(error) as caught:
        load_generator(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_weights_come_back_bit_for_bit(file, tiny_generator):
    expected, loaded = tiny_generator.state_dict(), load_generator(file).state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[key], value) and loaded[key].dtype == value.dtype for key, value in expected.items())


def test_a_loaded_generator_computes_the_same(file, tiny_generator):
    x = torch.rand(1, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_generator(file)(x), tiny_generator(x))


def test_the_constructor_arguments_come_back(tmp_path):
    save_generator(tmp_path / "a.safetensors", FFCResNetGenerator(ngf=6, n_blocks=2, ratio=0.5, n_downsampling=2))
    config = load_generator(tmp_path / "a.safetensors").config
    assert (config["ngf"], config["n_blocks"], config["ratio"], config["n_downsampling"]) == (6, 2, 0.5, 2)


def test_a_loaded_generator_is_for_inference(tmp_path, tiny_generator):
    save_generator(tmp_path / "a.safetensors", tiny_generator.train())
    loaded = load_generator(tmp_path / "a.safetensors")
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_saving_leaves_the_generator_as_it_was(tmp_path, tiny_generator):
    save_generator(tmp_path / "a.safetensors", tiny_generator.train())
    assert tiny_generator.training
    assert all(parameter.requires_grad for parameter in tiny_generator.parameters())


def test_the_information_for_people_can_be_read(file):
    with safe_open(file, "pt") as content:
        assert json.loads(content.metadata()["info"]) == {"step": 7}


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    refusal(file)


@pytest.mark.parametrize("content", [b"hello", b"not a model, but a longer text\n" * 10, b"PK\x03\x04" + bytes(100)])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    refusal(tmp_path / "model.safetensors")


def test_safetensors_of_another_program_are_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert "holds no generator of LaMa, only x" in refusal(tmp_path / "other.safetensors")


@pytest.mark.parametrize("name", ["os.system", "PatchDiscriminator", "Module", "NoSuchGenerator", "__import__"])
def test_a_class_that_is_no_generator_is_refused(tmp_path, name):
    file = write(tmp_path / "a.safetensors", {"class": name, "config": {}})
    message = refusal(file)
    assert name in message
    assert "FFCResNetGenerator" in message


@pytest.mark.parametrize("description", ["not json", "[]", "{}", None, '{"class": "FFCResNetGenerator"}'])
def test_a_damaged_description_is_refused(tmp_path, description):
    refusal(write(tmp_path / "a.safetensors", **{"generator": description} if description else {"generator": ""}))


@pytest.mark.parametrize("config", [{"no_such_argument": 1}, {"ngf": "many"}, {"ngf": 0}])
def test_arguments_that_the_network_does_not_take_are_refused(tmp_path, config):
    refusal(write(tmp_path / "a.safetensors", {"class": "FFCResNetGenerator", "config": config}))


@pytest.mark.parametrize("config", [{"ngf": 4, "n_blocks": 2}, {"ngf": 6, "n_blocks": 1}])
def test_weights_that_do_not_fit_their_description_are_refused(tmp_path, tiny_generator, config):
    description = {"class": "FFCResNetGenerator", "config": config}
    message = refusal(write(tmp_path / "a.safetensors", description, tiny_generator.state_dict()))
    assert len(message) < 1000


def test_a_missing_file_is_one_line(tmp_path):
    assert "models/best.safetensors" in refusal(tmp_path / "no_such_run", FileNotFoundError)


def test_an_empty_run_folder_is_one_line(tmp_path):
    (tmp_path / "models").mkdir()
    refusal(tmp_path, FileNotFoundError)


def test_a_run_folder_gives_its_best_weights(tmp_path):
    for name in ("last", "best"):
        save_generator(tmp_path / "models" / f"{name}.safetensors", FFCResNetGenerator(ngf=4, n_blocks=1))
    assert find_weights(tmp_path) == tmp_path / "models" / "best.safetensors"


def test_a_run_folder_without_best_weights_gives_the_last(tmp_path, tiny_generator):
    save_generator(tmp_path / "models" / "last.safetensors", tiny_generator)
    expected = tiny_generator.state_dict()
    loaded = load_generator(tmp_path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in expected.items())


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(file, tiny_generator, monkeypatch):
    before = file.read_bytes()

    def interrupted(path, content):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_generator(file, tiny_generator)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_what_is_near_a_model_is_named(tmp_path):
    run = tmp_path / "runs" / "mine"
    for place in ("models/best.safetensors", "checkpoints/epoch=1.ckpt"):
        (run / place).parent.mkdir(parents=True)
        (run / place).write_bytes(b"")
    for path in (tmp_path / "runs", run / "checkpoints"):
        with pytest.raises(FileNotFoundError, match=rf"do you mean {run}\?"):
            find_weights(path)
    with pytest.raises(FileNotFoundError, match="no such file or folder; working directory"):
        find_weights(tmp_path / "nothing")


def test_a_flipped_bit_in_the_weights_is_found(file):
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    assert "wrong checksum" in refusal(file)


def test_a_folder_without_end_is_not_searched_to_its_end(tmp_path, monkeypatch):
    """As the folder of a data set of millions of images."""
    seen = itertools.count()
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: (self / f"{next(seen)}.jpg" for _ in itertools.count()))
    with pytest.raises(FileNotFoundError, match="no model there"):
        find_weights(tmp_path)
    assert next(seen) < 100_000

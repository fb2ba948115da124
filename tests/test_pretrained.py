"""Third-party weights: an explicit path, then the cache, then a verified download, then a message that helps."""

import hashlib
import pickle

import pytest
import torch

from lama import pretrained
from lama.pretrained import WEIGHT_FILES, MissingWeightsError, ReleasedFile, encoders
from lama.pretrained.fetch import CannotFetchError

CONTENT = b"the released weights" * 1000
TOY = ReleasedFile(
    "toy/net.pth", ("https://example.invalid/releases/net.pth",), hashlib.sha256(CONTENT).hexdigest(), without="toy=off"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "others"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "others"))
    monkeypatch.setitem(pretrained.WEIGHT_FILES, "toy", TOY)
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch):
    """No network; gives the list of addresses that were asked for."""
    asked = []

    def fetch(spec):
        asked.append(spec.url)
        raise CannotFetchError(["no network"])

    monkeypatch.setattr(encoders, "fetch", fetch)
    return asked


def place(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_an_explicit_path_wins_over_the_cache(cache, offline, tmp_path):
    place(cache / TOY.filename)
    mine = place(tmp_path / "mine.pth")
    assert pretrained.require("toy", str(mine)) == mine
    assert offline == []


def test_the_cache_wins_over_the_network(cache, offline):
    cached = place(cache / TOY.filename, CONTENT)
    assert pretrained.require("toy") == cached
    assert offline == []


def test_the_cache_may_be_flat(cache, offline):
    cached = place(cache / "net.pth", CONTENT)
    assert pretrained.require("toy") == cached


@pytest.mark.parametrize("content", [CONTENT[:-1], b""])
def test_another_file_in_the_cache_is_refused_and_one_that_was_named_is_taken(cache, offline, content):
    damaged = place(cache / TOY.filename, content)
    with pytest.raises(ValueError, match=rf"weights\.toy: {damaged} .*{TOY.sha256}.*weights\.toy={damaged}") as caught:
        pretrained.require("toy")
    assert "\n" not in str(caught.value)
    assert pretrained.require("toy", str(damaged)) == damaged
    assert not pretrained.is_published("toy", damaged)
    place(damaged, CONTENT)  # repaired: the earlier result is not cached
    assert pretrained.require("toy") == damaged


def test_another_file_given_by_path_is_warned_about_once(cache, tmp_path, caplog):
    other = place(tmp_path / "other.pth", b"other weights")
    for _ in range(2):
        pretrained.require("toy", str(other))
    pretrained.require("toy", str(place(tmp_path / "same.pth", CONTENT)))
    (record,) = caplog.records
    assert all(part in record.getMessage() for part in ("weights.toy", str(other), TOY.filename, TOY.sha256))


def test_a_file_that_is_not_cached_is_not_found(cache):
    assert pretrained.find("toy") is None


def test_an_explicit_path_that_is_missing_is_an_error_even_where_the_cache_has_the_file(cache, tmp_path):
    place(cache / TOY.filename)
    with pytest.raises(FileNotFoundError) as caught:
        pretrained.require("toy", str(tmp_path / "typo.pth"))
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in (str(tmp_path / "typo.pth"), TOY.filename, TOY.url))
    assert not isinstance(caught.value, MissingWeightsError)  # a typo is never "not available"


def test_downloading_can_be_forbidden(cache, offline):
    with pytest.raises(MissingWeightsError):
        pretrained.require("toy", download=False)
    assert offline == []


def test_weights_without_a_published_sha256_are_never_downloaded(cache, offline):
    with pytest.raises(MissingWeightsError, match=r"weights\.resnet50_imagenet"):
        pretrained.require("resnet50_imagenet")
    assert offline == []


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_the_message_names_file_folder_address_sha256_and_the_way_to_do_without(cache, offline, name):
    spec = WEIGHT_FILES[name]
    with pytest.raises(MissingWeightsError) as caught:
        pretrained.require(name)
    message = str(caught.value)
    assert "\n" not in message
    sha256 = spec.sha256 or "sha256 not published"
    for part in (spec.filename, str(cache), spec.url, sha256, spec.without, f"weights.{name}="):
        assert part in message


def test_the_error_carries_the_name_of_the_missing_file(cache, offline):
    with pytest.raises(MissingWeightsError) as caught:
        pretrained.require("toy")
    assert caught.value.missing_file == "net.pth"


def network():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


@pytest.fixture
def released(tmp_path):
    """A file with the weights of ``network`` and its state dict, as a function of the change to make in it."""

    def save(changes=(), without=()):
        state = {key: torch.full_like(value, 2) for key, value in network().state_dict().items()} | dict(changes)
        torch.save({key: value for key, value in state.items() if key not in without}, tmp_path / "released.pth")
        return str(tmp_path / "released.pth")

    return save


def test_weights_are_loaded_into_the_network(cache, released):
    loaded = pretrained.load_into(network(), "toy", released())
    assert all(value.eq(2).all() for value in loaded.state_dict().values())


def test_parts_of_the_file_that_the_network_does_not_have_are_left_out(cache, released):
    loaded = pretrained.load_into(network(), "toy", released({"classifier.weight": torch.zeros(5)}))
    assert loaded[0].weight.eq(2).all()


def test_old_files_without_a_count_of_batches_are_accepted(cache, released):
    loaded = pretrained.load_into(network(), "toy", released(without=["1.num_batches_tracked"]))
    assert loaded[1].running_mean.eq(2).all()


@pytest.mark.parametrize("change", [{"without": ["0.bias"]}, {"changes": {"0.bias": torch.zeros(5)}}])
def test_a_file_for_another_network_is_refused(cache, released, change):
    file = released(**change)
    with pytest.raises(ValueError, match=r"0\.bias") as caught:
        pretrained.load_into(network(), "toy", file)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04" + bytes(50)])
def test_a_damaged_file_of_weights_is_named_in_one_line(tmp_path, content):
    file = place(tmp_path / "weights.pth", content)
    with pytest.raises(ValueError, match=r"weights\.\w+: .*\w+Error") as caught:
        pretrained.read_state_dict(file, "vgg19")
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_a_file_that_holds_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.vgg19: .*weights\.pth .*state dict"):
        pretrained.read_state_dict(tmp_path / "weights.pth", "vgg19")


class Evil:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_nothing_in_a_file_of_weights_is_executed(tmp_path, save):
    save({"x": Evil(tmp_path / "executed")}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.\w+: .*\w+Error"):
        pretrained.read_state_dict(tmp_path / "weights.pth", "vgg19")
    assert not (tmp_path / "executed").exists()

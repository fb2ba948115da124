"""Fetching released files from a server that fails in every way, and finding what other programs have fetched."""

import errno
import hashlib
import io
import logging
import multiprocessing
import os
import re
from dataclasses import replace

import pytest
from mirror import serve

from lama import pretrained
from lama.commands import run_verb
from lama.pretrained import fetch as fetching
from lama.pretrained import networks, places
from lama.pretrained.fetch import CannotFetchError, fetch
from lama.pretrained.table import NETWORKS, NOT_READ, WEIGHT_FILES, ReleasedFile, ReleasedNetwork

CONTENT = bytes(range(256)) * 400
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def mirror():
    with serve() as running:
        running.files |= {"/a/net.pt": CONTENT, "/b/net.pt": CONTENT, "/storage/who/net/resolve/main/net.pt": CONTENT}
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and empty caches of other programs; no proxies, and no other switch of the environment."""
    for name in [*os.environ]:
        if re.fullmatch(r"(?i)(https?|all)_proxy|HF_.*|TORCH_HOME|LAMA_.*|COMFYUI_PATH", name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "others"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def toy(mirror, *paths, **changes):
    urls = tuple(path if "://" in path else f"{mirror.url}{path}" for path in paths or ("/a/net.pt",))
    return ReleasedFile("net.pt", urls, **({"sha256": SUM, "size": len(CONTENT)} | changes))


def contents(folder):
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_file_is_fetched_checked_and_alone_in_the_cache(cache, mirror):
    file = fetch(toy(mirror))
    assert file == cache / "net.pt"
    assert file.read_bytes() == CONTENT
    assert contents(cache) == {"net.pt"}
    assert fetch(toy(mirror)) == file
    assert len(mirror.asked) == 1


def test_hugging_face_by_its_endpoint_and_through_its_redirect(cache, mirror, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", mirror.url + "/hub/")
    assert fetch(toy(mirror, "https://huggingface.co/who/net/resolve/main/net.pt")).read_bytes() == CONTENT
    assert [path.split("/")[1] for path, _ in mirror.asked] == ["hub", "storage"]


def test_where_the_table_knows_no_sum_the_announced_one_is_checked_and_noted(cache, mirror, monkeypatch):
    spec = toy(mirror, "/hub/who/net/resolve/main/net.pt", sha256="", size=None)
    with pytest.raises(CannotFetchError, match="sha256"):
        fetch(spec)
    mirror.sums["/hub/who/net/resolve/main/net.pt"] = "0" * 64
    with pytest.raises(CannotFetchError, match=f"{SUM}.*{'0' * 64}"):
        fetch(spec)
    mirror.sums["/hub/who/net/resolve/main/net.pt"] = SUM
    file = fetch(spec)
    assert places.noted_sha256(file).read_text() == SUM
    assert places.find_copy(spec) == ("lama", file)
    file.write_bytes(b"damaged")
    assert places.find_copy(spec) is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("404", "404"), ("403", "403"), ("503", "503"), ("loop", "302|redirect"), ("portal", "web page"),
     ("sly portal", "web page"), ("wrong", "sha256"), ("stall", "no byte for"),
     ("trickle", "bytes a second")],
)  # fmt: skip
def test_the_next_mirror_is_asked_where_one_fails(cache, mirror, monkeypatch, fault, reason):
    monkeypatch.setattr(fetching, "STALL", 0.3)
    monkeypatch.setattr(fetching, "SLOWEST", 10**6)
    monkeypatch.setattr(fetching, "BREAKS", 1)
    mirror.faults["/a/net.pt"] = [fault]
    with pytest.raises(CannotFetchError, match=reason) as caught:
        fetch(toy(mirror))
    assert "\n" not in str(caught.value)
    assert not (cache / "net.pt").exists()
    assert fetch(toy(mirror, "/a/net.pt", "/b/net.pt")).read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/net.pt", "http://[bad/net.pt", "nonsense"])
def test_an_address_that_cannot_be_reached_is_one_reason(cache, mirror, address):
    with pytest.raises(CannotFetchError) as caught:
        fetch(ReleasedFile("net.pt", (address,), SUM))
    assert "\n" not in str(caught.value)


def test_a_connection_that_breaks_goes_on_where_it_was(cache, mirror):
    mirror.faults["/a/net.pt"] = ["break", "break", ""]
    assert fetch(toy(mirror)).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert [begin for _, begin in mirror.asked] == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_partial_file_goes_on_from_another_mirror_and_survives_a_portal(cache, mirror, monkeypatch):
    mirror.faults["/a/net.pt"] = ["break", "404"]
    with pytest.raises(CannotFetchError, match="404"):
        fetch(toy(mirror))
    (partial,) = [path for path in (cache / "partial").iterdir() if path.suffix != ".lock"]
    half = len(CONTENT) // 2
    for fault in ("portal", "sly portal", "403"):
        mirror.faults["/b/net.pt"] = [fault]
        with pytest.raises(CannotFetchError):
            fetch(toy(mirror, "/b/net.pt"))
        assert partial.read_bytes() == CONTENT[:half]
    mirror.faults["/b/net.pt"] = [""]
    assert fetch(toy(mirror, "/b/net.pt")).read_bytes() == CONTENT
    assert mirror.asked[-1] == ("/b/net.pt", f"bytes={half}-")


@pytest.mark.parametrize("lies", [b"another file", CONTENT[:-1] + b"!", CONTENT + b"!", CONTENT])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_partial_file_of_something_else_is_fetched_anew(cache, mirror, lies, size):
    spec = toy(mirror, size=size)
    partial = cache / "partial" / f"{SUM[:16]}-net.pt"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(lies)
    assert fetch(spec).read_bytes() == CONTENT
    assert len(mirror.asked) <= 2


def test_a_server_without_ranges_sends_all_again(cache, mirror):
    mirror.faults["/a/net.pt"] = ["break", "no ranges"]
    assert fetch(toy(mirror)).read_bytes() == CONTENT


def test_another_file_at_its_place_is_kept_aside(cache, mirror, caplog):
    cache.mkdir()
    (cache / "net.pt").write_bytes(b"mine")
    assert fetch(toy(mirror)).read_bytes() == CONTENT
    assert (cache / "net.pt.other").read_bytes() == b"mine"
    assert "net.pt.other" in caplog.text


@pytest.mark.parametrize("name", ["LAMA_OFFLINE", "HF_HUB_OFFLINE"])
def test_the_network_can_be_forbidden(cache, mirror, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(CannotFetchError, match=f"{name}=1"):
        fetch(toy(mirror))
    assert mirror.asked == []
    monkeypatch.setenv(name, "0")
    fetch(toy(mirror))


def test_a_full_disk_and_a_folder_without_write_access_are_errors_of_this_machine(cache, mirror, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetching.Path, "open", lambda *_: Full())
        with pytest.raises(OSError, match=r"No space left.*net\.pt") as caught:
            fetch(toy(mirror))
    assert not isinstance(caught.value, CannotFetchError)
    cache.joinpath("partial").rmdir() if not any((cache / "partial").iterdir()) else None
    monkeypatch.setenv("LAMA_WEIGHTS", "/proc/nobody")
    with pytest.raises(OSError, match=r"/proc/nobody.*LAMA_WEIGHTS"):
        fetch(toy(mirror))
    assert len(mirror.asked) == 1


def _fetch_in_a_process(spec, cache, begin, results):
    os.environ["LAMA_WEIGHTS"] = cache
    begin.wait()
    results.put(fetch(spec).read_bytes() == CONTENT)


def test_two_processes_fetch_once(cache, mirror):
    mirror.faults["/a/net.pt"] = ["slow"]
    fork = multiprocessing.get_context("fork")
    begin, results = fork.Barrier(2), fork.Queue()
    arguments = (toy(mirror), str(cache), begin, results)
    both = [fork.Process(target=_fetch_in_a_process, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=30) for _ in both] == [True, True]
    assert len(mirror.asked) == 1


def test_a_killed_download_goes_on(cache, mirror):
    mirror.faults["/a/net.pt"] = ["stall", ""]
    fork = multiprocessing.get_context("fork")
    begin, results = fork.Barrier(1), fork.Queue()
    process = fork.Process(target=_fetch_in_a_process, args=(toy(mirror), str(cache), begin, results))
    process.start()
    partial = cache / "partial" / f"{SUM[:16]}-net.pt"
    for _ in range(200):
        process.join(0.02)
        if partial.is_file() and partial.stat().st_size:
            break
    process.kill()
    process.join()
    assert contents(cache) == {partial.name}
    assert fetch(toy(mirror)).read_bytes() == CONTENT
    assert mirror.asked[-1][1] is None or int(re.search(r"\d+", mirror.asked[-1][1])[0]) > 0


@pytest.mark.parametrize(
    ("folder", "origin"),
    [("others/torch/hub/checkpoints/anything.pt", "torch hub"),
     (f"others/huggingface/hub/models--a--b/blobs/{SUM}", "Hugging Face"),
     ("ComfyUI/models/inpaint/x/y.pt", "ComfyUI"), ("home/ComfyUI/models/lama/y.pt", "ComfyUI"),
     ("cache/put/here/by-hand.bin", "lama")],
)  # fmt: skip
def test_files_of_other_programs_are_found_by_their_content(cache, mirror, tmp_path, folder, origin):
    spec = toy(mirror)
    file = tmp_path / folder
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT[:-1] + b"!")
    assert places.find_copy(spec) is None
    file.write_bytes(CONTENT)
    os.utime(file, (1, 1))
    found = places.find_copy(spec)
    assert origin in found[0]
    assert found[1] == file
    assert fetch(spec) == file
    assert mirror.asked == []


@pytest.fixture
def table(cache, mirror, monkeypatch):
    """A released network in two files, of which the first is gone."""
    gone = replace(toy(mirror, "/gone.pt", sha256="1" * 64), filename="gone.pt")
    network = ReleasedNetwork("toy-lama", (gone, toy(mirror, "/a/net.pt", "/b/net.pt")), "toys", "MIT")
    monkeypatch.setitem(NETWORKS, "toy-lama", network)
    return network


def test_the_first_file_of_a_network_that_can_be_had_is_taken(table, cache, mirror, caplog):
    caplog.set_level(logging.INFO)
    file = pretrained.released("toy-lama")
    assert file.read_bytes() == CONTENT
    assert "MIT" in caplog.text
    mirror.files.clear()
    assert pretrained.released("toy-lama") == file
    assert networks.here("toy-lama") == ("lama", file)


@pytest.mark.parametrize("forbidden", [True, False])
def test_where_nothing_works_one_line_says_everything(table, cache, mirror, monkeypatch, forbidden):
    mirror.files.clear()
    if forbidden:
        monkeypatch.setenv("LAMA_OFFLINE", "1")
    with pytest.raises(FileNotFoundError) as caught:
        pretrained.released("toy-lama")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "toy-lama",
        *(url for spec in table.files for url in spec.mirrors),
        str(cache),
        SUM,
        str(len(CONTENT)),
    ):
        assert part in message
    assert ("LAMA_OFFLINE=1" in message) == forbidden
    (cache / "whatever.bin").parent.mkdir(exist_ok=True)
    (cache / "whatever.bin").write_bytes(CONTENT)  # as the message says
    assert pretrained.released("toy-lama") == cache / "whatever.bin"


@pytest.mark.parametrize(
    ("place", "content", "reason"),
    [
        ("cache/net.pt", b"\n<!DOCTYPE html><title>Log in</title>", "a web page"),
        ("cache/net.pt", CONTENT[:-1], f"{len(CONTENT) - 1} bytes, expected {len(CONTENT)}"),
        ("cache/net.pt", b"", "an empty file"),
        ("cache/net.pt", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("cache/sub/odd name.bin", bytes(len(CONTENT)), "another file by its sha256"),
        ("others/torch/hub/checkpoints/net.pt", bytes(len(CONTENT)), "another file by its sha256"),
    ],
)
def test_a_file_that_was_put_there_and_is_not_the_right_one_is_named(
    table, cache, mirror, tmp_path, monkeypatch, place, content, reason
):
    monkeypatch.setenv("LAMA_OFFLINE", "1")
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "unrelated.pt").write_bytes(b"something else")
    file.write_bytes(content)
    with pytest.raises(FileNotFoundError) as caught:
        pretrained.released("toy-lama")
    message = str(caught.value)
    assert f"{file} is {reason}" in message
    assert "unrelated" not in message
    assert "\n" not in message


def test_an_encoder_that_is_a_web_page_is_named_where_the_official_code_keeps_it(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMA_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "ade20k" / WEIGHT_FILES["ade20k_encoder"].filename
    file.parent.mkdir(parents=True)
    file.write_text("<html>")
    with pytest.raises(FileNotFoundError) as caught:
        pretrained.require("ade20k_encoder")
    assert f"{file} is a web page" in str(caught.value)


def test_an_endpoint_that_is_no_address_is_named(cache, table, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    with pytest.raises(ValueError, match="HF_ENDPOINT=nonsense"):
        pretrained.released("toy-lama")


def test_the_table_is_complete():
    specs = [spec for network in NETWORKS.values() for spec in network.files] + list(WEIGHT_FILES.values())
    for spec in specs:
        assert re.fullmatch(r"[0-9a-f]{64}|", spec.sha256)
        assert bool(spec.sources) == bool(spec.sha256)
        assert all(re.match(r"https?://[\w.\-]+/\S+$", url) for url in (*spec.mirrors, *spec.pages))
    assert len({spec.filename for spec in specs}) == len(specs)
    sums = [spec.sha256 for spec in specs if spec.sha256]
    assert len(set(sums)) == len(sums)
    assert all(spec.without for spec in WEIGHT_FILES.values())
    assert all(row["instead"] in NETWORKS for row in NOT_READ)


def test_the_command_lists_fetches_and_verifies(table, cache, mirror, capsys):
    def weights(*arguments):
        try:
            run_verb("weights", list(arguments))
        except SystemExit as exit_code:
            return exit_code.code, "".join(capsys.readouterr())
        return 0, "".join(capsys.readouterr())

    assert weights("list")[1].splitlines()[1].split()[:3] == ["small", "10", "MB"]
    assert weights("get", "small")[1].strip().endswith("lama-small.safetensors")
    assert "small" not in weights("list", "toy-lama")[1]
    assert weights("list", "toy-lama")[1].splitlines()[1].split()[:4] == ["toy-lama", "0", "MB", "-"]
    assert weights("verify", "toy-lama") == (0, "no released file on this machine\n")
    assert str(cache / "net.pt") in weights("get", "toy-lama")[1].splitlines()
    assert str(cache / "net.pt") in weights("list", "toy-lama")[1]
    code, said = weights("verify", "toy-lama")
    assert (code, SUM in said, str(cache / "net.pt") in said) == (0, True, True)
    (cache / "net.pt").write_bytes(b"damaged")
    code, said = weights("verify", "toy-lama")
    assert (code, "DAMAGED" in said) == (1, True)
    (cache / "partial" / "half.pt").write_bytes(b"half")
    assert "half.pt: 4 bytes" in weights("where")[1]
    (cache / "net.pt").unlink()
    mirror.files.clear()
    code, said = weights("get", "toy-lama", "small")  # the second is printed although the first cannot be had
    assert (code, "lama-small.safetensors" in said, "toy-lama: cannot be fetched" in said) == (2, True, True)
    code, said = weights("get", "toy-llama")
    assert (code, "toy-lama" in said) == (2, True)

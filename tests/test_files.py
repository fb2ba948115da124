"""Files are written completely or not at all, also if several writers share a folder."""

import importlib
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lama.files import PARTIAL, atomic_write, check_writable, remove_partial


def test_two_writers_of_one_file_in_one_process_do_not_share_a_temporary(tmp_path):
    both = threading.Barrier(2, timeout=10)

    def write(text):
        with atomic_write(tmp_path / "a.txt") as partial:
            partial.write_text(text)
            both.wait()  # both have written, none has renamed
            texts.append(partial.read_text())

    texts = []
    threads = [threading.Thread(target=write, args=(name * 1000,)) for name in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == ["x" * 1000, "y" * 1000]
    assert (tmp_path / "a.txt").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_equal_process_ids_do_not_collide(tmp_path, monkeypatch):
    """As in two containers on one disk."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    with atomic_write(tmp_path / "a.txt") as first, atomic_write(tmp_path / "a.txt") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"  # renamed last


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("before")

    def fail():
        with atomic_write(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "a.txt").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_temporary_has_the_suffix_and_the_file_the_permissions_of_others(tmp_path):
    with atomic_write(tmp_path / "new/a.png") as partial:
        assert (partial.parent, partial.suffix) == (tmp_path / "new", ".png")
    (tmp_path / "b").touch()
    assert (tmp_path / "new/a.png").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_an_error_names_the_file_and_not_its_temporary(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError) as error, atomic_write(tmp_path / "a"):
        pass
    assert error.value.filename == str(tmp_path / "a")


def test_only_temporaries_of_killed_writers_are_removed(tmp_path):
    for name in (".notes.2024.txt", ".env.1", ".lock", "a.txt", f"{PARTIAL}abc.ckpt"):
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env.1", ".lock", ".notes.2024.txt", "a.txt"]


READ_ONLY = Path("/proc/self/nothing")  # not even root can write there
LATE = [  # a later step of each would raise another error: its inputs are missing or wrong
    "check-data NOWHERE --sheet READ_ONLY/a.png",
    "compare NOWHERE NOWHERE outdir=READ_ONLY",
    "contact-sheet masks READ_ONLY/a.png no_such_mask",
    "convert src=NOWHERE dst=READ_ONLY/a.safetensors",
    "evaluate-predicts eval2_gpu TMP TMP READ_ONLY/a.csv",
    "export model.path=NOWHERE format=torchscript out=READ_ONLY/a.pt",
    "figure NOWHERE NOWHERE out=READ_ONLY/a.pdf",
    "figure curves NOWHERE out=READ_ONLY/a.pdf",
    "masks random_thick_256 NOWHERE READ_ONLY",
    "predict model.path=NOWHERE indir=TMP outdir=READ_ONLY",
    "predict model.path=NOWHERE image=TMP/a.png mask=TMP/a_mask000.png out=READ_ONLY/a.png",
    "prepare-celebahq TMP/a.png READ_ONLY",
    "prepare-places TMP/a.png TMP/a.png TMP/a.png READ_ONLY",
    "report run=null removals=READ_ONLY",
    "tables runs=NOWHERE out=READ_ONLY",
    "tables layout=own rows=[NOWHERE] out=READ_ONLY",
    "train -cn demo run_dir=READ_ONLY init_from=NOWHERE",
]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write to")
@pytest.mark.parametrize("words", LATE)
def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch, words):
    for name, image in (("a", np.zeros((16, 16, 3), np.uint8)), ("a_mask000", np.eye(16, dtype=np.uint8) * 255)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    verb, *arguments = words.replace("READ_ONLY", str(READ_ONLY)).replace("TMP", str(tmp_path)).split()
    command = importlib.import_module(f"lama.commands.{verb.replace('-', '_')}")
    given = next(word for word in arguments if str(READ_ONLY) in word)  # with its key
    with pytest.raises(PermissionError, match=f"{re.escape(given)}: /proc.*: cannot be written to"):
        command.main(arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_mask000.png"]


def test_a_folder_that_does_not_exist_yet_is_tried_where_it_would_be_made(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        check_writable(tmp_path / "file" / "b")


@pytest.mark.parametrize(
    "words", ["tables runs=NOWHERE out=FILE", "compare A B outdir=FILE", "masks random_thin_256 A FILE"]
)
def test_a_file_in_place_of_a_folder_to_write_to_is_named_with_its_key(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    verb, *arguments = words.split()
    with pytest.raises(NotADirectoryError, match=r"out(dir)?=FILE: .*is a file"):
        importlib.import_module(f"lama.commands.{verb}").main(arguments)

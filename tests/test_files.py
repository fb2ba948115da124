"""Files are written completely or not at all, also if several writers share a folder."""

import os
import threading

import pytest

from lama.files import PARTIAL, atomic_write, remove_partial


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

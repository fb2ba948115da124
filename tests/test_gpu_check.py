"""The check of a GPU, rehearsed on a CPU."""

import json

import pytest
import torch
from commands import command

from lama.gpu_check import gpu_check
from lama.gpu_check.check import CHECKS
from lama.gpu_check.row import Row, attempt, below

LIMIT = 900  # seconds; it takes less than a minute of a processor, and ten times that beside much other work


@pytest.mark.slow
def test_the_whole_check_runs_on_a_cpu(root, tmp_path):
    asked = ("device=cpu", "size=small", f"out={tmp_path}/out")
    code, said, errors = command(root, "gpu_check.py", *asked, timeout=LIMIT)
    assert code == 0, errors
    assert "report: " in said
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [section["title"] for section in report["sections"]] == list(CHECKS)
    rows = {row["name"]: row for section in report["sections"] for row in section["rows"]}
    assert not report["failed"]
    assert all(row["ok"] is not False for row in rows.values())
    assert rows["recipe=modern, 1 step in double precision"]["value"] == "0"  # the CPU beside itself
    assert rows["batch 2, float32"]["value"].endswith("% of a matrix product")
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(title in page for title in CHECKS)
    assert "cpu: nothing failed, 5 of the checks need a GPU" in page
    assert "http" not in page


def test_what_fails_is_named_and_the_rest_goes_on(tmp_path):
    def wrong(setup):
        """Wrong numbers."""
        yield below("too large", 2.0, 1.0)
        yield below("not a number", float("nan"), 1.0)

    def broken(setup):
        """A bug."""
        yield Row("before it", "fine")
        raise RuntimeError("no kernel image\nmore")

    def right(setup):
        """Right."""
        yield below("small", 0.5, 1.0)

    failed = gpu_check("cpu", "small", tmp_path, {"A": wrong, "B": broken, "C": right})
    assert failed == ["A: too large", "A: not a number", "B: the check itself"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["sections"][1]["rows"][1]["value"] == "RuntimeError: no kernel image"
    assert report["sections"][2]["rows"][0]["ok"] is True
    page = (tmp_path / "report.html").read_text()
    assert page.count("FAILED") == 3
    assert "cpu: 3 failed</h1>" in page


def test_a_full_memory_is_no_failure():
    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert attempt("batch 64", full) == Row("batch 64", "does not fit into the memory")


@pytest.mark.parametrize(("device", "size"), [("cpu", "huge"), ("cuda:99", "small")])
def test_a_wrong_size_or_device_writes_nothing(device, size, tmp_path):
    with pytest.raises(ValueError, match=f"{size}|{device}"):
        gpu_check(device, size, tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""A training beside other programs: one line where its threads outnumber the free cores."""

import logging
import os

import pytest
import torch

from lama.machine.crowded import crowded
from lama.runs import processes


@pytest.mark.parametrize(
    ("load", "threads", "ours", "advice"),
    [
        (0.2, 4, 4, None),
        (1.0, 4, 4, "OMP_NUM_THREADS=3"),
        (3.9, 4, 4, "OMP_NUM_THREADS=1"),
        (9.0, 2, 4, "OMP_NUM_THREADS=1"),
        (2.0, 2, 4, None),
        (9.0, 1, 4, None),
        (9.0, 2, 2, None),  # a share of a larger machine: its load says nothing about our cores
    ],
)
def test_threads_that_would_wait_for_other_programs_are_one_line(monkeypatch, load, threads, ours, advice):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(ours)))
    line = crowded(threads)
    assert line.endswith(advice) if advice else not line


def test_a_training_says_the_line(monkeypatch, caplog):
    monkeypatch.setattr(processes, "crowded", lambda threads: f"busy with {threads}")
    with caplog.at_level(logging.WARNING, "lama"):
        processes.choose_processes({"accelerator": "cpu"})
    assert [record.message for record in caplog.records] == [f"busy with {torch.get_num_threads()}"]

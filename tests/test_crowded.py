"""A training beside other programs: one line where its threads outnumber the free cores."""

import logging
import os
import subprocess
import sys

import numpy as np
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is the process's own anyway")
def test_the_peak_of_a_process_is_its_own_and_not_its_parents():
    large = np.ones(100_000_000)
    code = "import torch; from lama.machine.memory import peak_memory; print(peak_memory(torch.device('cpu')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5e7 < int(done.stdout) < large.nbytes

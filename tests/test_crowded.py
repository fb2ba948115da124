"""Two programs on one CPU slow each other down: one line says so, where threads outnumber the free cores."""

import logging
import os

import pytest

from lama.machine import crowded


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
    line = crowded.crowded(threads)
    assert line.endswith(advice) if advice else not line


def test_the_line_is_said_once_when_a_cpu_is_chosen(monkeypatch, caplog):
    from lama.machine.device import pick_device

    crowded.warn_if_crowded.cache_clear()
    monkeypatch.setattr(crowded, "crowded", lambda threads: "busy")
    with caplog.at_level(logging.WARNING, "lama"):
        pick_device("cpu")
        pick_device("cpu")
    assert [record.message for record in caplog.records] == ["busy"]
    crowded.warn_if_crowded.cache_clear()

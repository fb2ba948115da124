"""A few jobs of a disturbed sweep in the slow suite, ``make chaos-sweeps`` by hand; and the report."""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]

import sweep_report  # noqa: E402
from life import Fault  # noqa: E402
from slurm import missing  # noqa: E402


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.skipif(bool(missing()), reason=f"not on this machine: {', '.join(missing())}")
def test_a_disturbed_sweep_ends_with_the_tables_of_an_undisturbed_one(tmp_path):
    command = [sys.executable, str(HERE / "sweeps.py"), "--jobs", "10", "--real", "0", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "report.json").read_text())
    assert summary["verdicts"] == {"equal": 5}
    assert summary["came"] >= 3
    assert summary["jobs"] == 10  # five trainings and their evaluations


def test_the_report_counts_faults_that_came_and_names_what_broke(tmp_path):
    faults = [Fault("cancelled", "a", "vanished"), Fault("cancelled", "b", fired=False)]
    given = argparse.Namespace(jobs=2, seed=7)
    verdicts = {"row/seed0": "equal", "row/seed1": "broken: differs"}
    summary = sweep_report.summarise(
        faults, Counter(a=1, b=3), verdicts, {"tables.md": b"x"}, ["row/seed1: differs"], [], 2.0, given
    )
    assert (summary["came"], summary["starts"], summary["starts by job"]) == (1, 4, {1: 1, 3: 1})
    assert summary["kinds"]["cancelled"]["outcomes"] == {"vanished": 1, "too late": 1}
    sweep_report.write(summary, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "row/seed1: differs" in page
    assert "broke" in sweep_report.heading(summary)

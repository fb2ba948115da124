"""A sweep whose jobs have never run: files as they leave them, and a squeue that prints a file.

python tests/simulated_sweep.py 10000     # the processor time of `lama sweep status` for so many jobs
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STATES = ("done", "failed", "running", "queued", "gone")  # in turn


def simulate(sweep, works):
    """Write the files of jobs of ``works`` in all states; returns the output of squeue."""
    jobs, lines = sweep.folder / "jobs", []
    jobs.mkdir()
    for i, work in enumerate(works):
        name, state, job = str(work).replace("/", "-"), STATES[i % len(STATES)], f"{500 + i // 1000}_{i % 1000}"
        (jobs / f"{name}.job").write_text(f"{job}\n")
        if state in ("done", "failed", "running"):
            content = {"state": state, "pid": 1, "host": "x", "error": "boom"}
            (jobs / f"{name}.json").write_text(json.dumps(content))
        if state in ("running", "queued"):
            lines.append(f"{job} {'RUNNING' if state == 'running' else 'PENDING'}\n")
    return "".join(lines)


def main(count):
    from test_sweeps import a_sweep

    from lama.sweeps.plan import save
    from lama.sweeps.start import compose

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        launcher = compose(["sweep=seeds", "row=demo", "launcher=slurm"], []).launcher
        sweep = a_sweep(folder / "sweep", rows=["demo"], seeds=list(range(count)), launcher=launcher)
        save(sweep)
        (folder / "queue").write_text(simulate(sweep, sweep.trainings()))
        (folder / "squeue").write_text(f"#!/bin/sh\ncat {folder}/queue\n")
        (folder / "squeue").chmod(0o755)
        begun, before = time.monotonic(), os.times()
        command = [sys.executable, "-m", "lama", "sweep", "status", sweep.dir]
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        print(f"{said.splitlines()[-1]}\n{spent:.2f} s of the processor, {time.monotonic() - begun:.2f} s in all")


if __name__ == "__main__":
    main(int(sys.argv[1]))

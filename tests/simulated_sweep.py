"""A sweep whose jobs have never run: files as they leave them, and a SLURM of shell scripts.

python tests/simulated_sweep.py 10000     # the processor time of `lama sweep status` and `resubmit` for so many jobs
"""

import json
import os
import re
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


def a_cluster(folder, arrays=1001):
    """Commands of a SLURM in ``folder``: ``squeue`` prints the file queue, ``sbatch`` keeps its scripts."""
    number = f"$(ls {folder} | grep -c ^script)"
    scripts = {
        "squeue": f"cat {folder}/queue",
        "sinfo": "echo debug",
        "srun": "true",
        "scontrol": f"echo 'MaxArraySize            = {arrays}'",
        "sbatch": f'number={number}; cp "$1" {folder}/script$number; echo Submitted batch job 9$number',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def timed(folder, *words):
    """The last line of ``lama sweep`` with ``words``, its processor time and its time in all, in seconds."""
    begun, before = time.monotonic(), os.times()
    command = [sys.executable, "-m", "lama", "sweep", *words]
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return (said.stdout or said.stderr).splitlines()[-1], spent, time.monotonic() - begun


def rehearse(folder, count):
    """``timed`` of status, resubmit and status of ``count`` jobs; all that failed or disappeared are then queued."""
    from test_sweeps import a_sweep

    from lama.sweeps.plan import save
    from lama.sweeps.start import compose

    launcher = compose(["sweep=seeds", "row=demo", "launcher=slurm"], []).launcher
    sweep = a_sweep(folder / "sweep", rows=["demo"], seeds=list(range(count)), launcher=launcher)
    save(sweep)
    (folder / "queue").write_text(simulate(sweep, sweep.trainings()))
    a_cluster(folder)
    first, second = timed(folder, "status", sweep.dir), timed(folder, "resubmit", sweep.dir)
    with (folder / "queue").open("a") as queue:
        for i, script in enumerate(sorted(folder.glob("script*"), key=lambda path: int(path.name[6:]))):
            last = int(re.search(r"--array=0-(\d+)", script.read_text())[1])
            queue.writelines(f"9{i}_{task} PENDING\n" for task in range(last + 1))
    return first, second, timed(folder, "status", sweep.dir)


def main(count):
    with tempfile.TemporaryDirectory() as name:
        for verb, (said, spent, passed) in zip(
            ("status", "resubmit", "status"), rehearse(Path(name), count), strict=True
        ):
            print(f"{verb}: {said}\n    {spent:.2f} s of the processor, {passed:.2f} s in all")


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Tests under two processes, as a training on two GPUs has them, on CPUs."""

import json
import os
import subprocess
import sys


def two_processes(module, folder, root):
    """Run ``module.process(rank, 2, folder)`` in each; returns what they wrote into ``folder``/RANK.json."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{root}:{root}/tests"}
    command = f"import sys, {module}; {module}.process(int(sys.argv[1]), 2, sys.argv[2])"
    processes = [
        subprocess.Popen([sys.executable, "-c", command, str(rank), str(folder)], env=environment) for rank in range(2)
    ]
    try:
        assert [process.wait(120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]

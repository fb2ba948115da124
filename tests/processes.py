"""Tests with two processes on CPUs, like a training on two GPUs."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys

import torch


def two_processes(module, folder, root):
    """Run ``module.process(rank, 2, folder)`` in each; returns the contents of ``folder``/RANK.json."""
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


def forked(function, *arguments, world=2, timeout=120):
    """Call ``function(*arguments)`` in processes as torchrun starts them; returns their exit codes.

    They are forked, since a new interpreter takes seconds for its imports.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def start(rank):
        torch.set_num_threads(1)
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1",
                       "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip
        function(*arguments)

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=start, args=(rank,)) for rank in range(world)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout)
    finally:
        for process in processes:
            process.kill()
    return [process.exitcode for process in processes]

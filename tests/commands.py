"""Run the commands of bin/ as a user does."""

import logging
import multiprocessing
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import albumentations  # noqa: F401  (so that forks need not import the large packages again)
import matplotlib.pyplot  # noqa: F401
import pytorch_lightning  # noqa: F401
from hydra.core.global_hydra import GlobalHydra

import lama.commands.evaluate
import lama.commands.train
import lama.config
import lama.inference
import lama.runs  # noqa: F401


def program(root, name, *arguments, cwd=None, timeout=240):
    """Run ``bin/<name>`` in a new interpreter; returns (exit code, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, str(root / "bin" / name), *arguments],
        cwd=cwd, env=_environment(), capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def command(root, name, *arguments, cwd=None, timeout=240):
    """Like ``program``, in a fork of this process: a new interpreter takes seconds for its imports."""
    with TemporaryDirectory() as folder:
        streams = Path(folder, "out"), Path(folder, "err")
        process = multiprocessing.get_context("fork").Process(
            target=_run, args=(root / "bin" / name, arguments, cwd, streams)
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{name} {arguments}: longer than {timeout} s")
        return process.exitcode, *(stream.read_text() for stream in streams)


def _run(script, arguments, cwd, streams):
    """The script as a main program, with the state that a new interpreter would have."""
    for descriptor, stream in zip((1, 2), streams, strict=True):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    os.environ.clear()
    os.environ |= _environment()
    os.chdir(cwd or os.getcwd())
    logging.root.handlers.clear()
    GlobalHydra.instance().clear()
    warnings.simplefilter("default")
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


def _environment():
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return environment | {"OMP_NUM_THREADS": "1"}


def last_line(text):
    return text.strip().splitlines()[-1] if text.strip() else ""

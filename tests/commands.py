"""Run the commands of bin/ as a user does."""

import os
import subprocess
import sys


def command(root, name, *arguments, cwd=None, timeout=240):
    """Run ``bin/<name>`` as a user does; returns (exit code, stdout, stderr)."""
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    environment |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(root / "bin" / name), *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def last_line(text):
    return text.strip().splitlines()[-1] if text.strip() else ""

"""Check a GPU on its first day: `python bin/gpu_check.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("gpu-check")

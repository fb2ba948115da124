"""Measure speed, as ratios: `python bin/bench.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("bench")

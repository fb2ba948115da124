"""Draw figures for a paper from evaluations and runs: `python bin/figure.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("figure")

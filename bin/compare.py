"""Compare two evaluations image by image: `python bin/compare.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("compare")

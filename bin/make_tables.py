"""Rebuild tables 1 to 4 of the paper from evaluations: `python bin/make_tables.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("tables")

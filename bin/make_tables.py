"""Make tables from evaluations, the paper's or your own: `python bin/make_tables.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("tables")

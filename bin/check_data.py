"""Check a data set before training on it: `python bin/check_data.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("check-data")

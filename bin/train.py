"""Train a model, or the rows of a table: `python bin/train.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("train")

"""Bring a published test set into our layout: `python bin/prepare.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("prepare")

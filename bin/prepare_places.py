"""Unpack Places365 into the official layout: `python bin/prepare_places.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("prepare-places")

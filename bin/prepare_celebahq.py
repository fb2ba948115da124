"""Unpack CelebA-HQ into the official layout: `python bin/prepare_celebahq.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("prepare-celebahq")

"""Publish a training on the Hugging Face hub: `python bin/publish.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("publish")

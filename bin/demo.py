"""Serve a page: paint over an object in a photograph to remove it: `python bin/demo.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("demo")

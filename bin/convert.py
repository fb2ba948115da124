"""Write a model in our layout or the official one: `python bin/convert.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("convert")

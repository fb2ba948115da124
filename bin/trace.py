"""Print where a number comes from, back to the data: `python bin/trace.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("trace")

"""Let people compare methods blindly: `python bin/study.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("study")

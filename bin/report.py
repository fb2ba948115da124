"""Make an HTML page about a training run: `python bin/report.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("report")

"""Start a package of your own, with a loss, a mask, a metric and a generator: `python bin/new_project.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("new")

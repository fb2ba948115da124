"""Show, restart and evaluate the trainings of a sweep: `python bin/sweep.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("sweep")

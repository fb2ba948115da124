"""List, fetch and verify released networks: `python bin/weights.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("weights")

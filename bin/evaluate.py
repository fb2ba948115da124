"""Measure predictions or a model on images and masks: `python bin/evaluate.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("evaluate")

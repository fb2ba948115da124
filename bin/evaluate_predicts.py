"""The official command for metrics: `python bin/evaluate_predicts.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("evaluate-predicts")

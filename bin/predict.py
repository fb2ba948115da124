"""Remove objects from images: `python bin/predict.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("predict")

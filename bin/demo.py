"""Paint on a page in the browser and remove what is painted over: `python bin/demo.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("demo")

"""Make a frozen evaluation set of images and masks: `python bin/gen_mask_dataset.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("masks")

"""Draw what masks and augmentations look like: `python bin/contact_sheet.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("contact-sheet")

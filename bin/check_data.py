"""Look at a data set before training on it: what is there, what is wrong, what to paste.

python bin/check_data.py my_dataset                    # images, or train/ and val/; writes my_dataset_check.png
python bin/check_data.py IMAGES --crop 512 --sheet look.png
"""

import argparse
import sys
from pathlib import Path

from lama.config import one_liner
from lama.data.check import check_folder
from lama.pictures.images import SUFFIXES, write_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crop", type=int, default=256, help="pixels, the size of training crops")
    parser.add_argument("--sheet", type=Path, help="where the contact sheet goes")
    arguments = parser.parse_args()
    root = arguments.folder.expanduser()
    if arguments.crop < 16 or (arguments.sheet and arguments.sheet.suffix.lower() not in SUFFIXES):
        raise ValueError("expected --crop of at least 16 pixels, and --sheet with the suffix of an image")
    findings, sheet, commands = check_folder(root, arguments.crop)
    print("\n".join(findings.lines))
    for problem in findings.problems:
        print(f"problem: {problem}")
    if sheet is not None:
        path = arguments.sheet or Path(f"{root.resolve().name}_check.png")
        write_image(path, sheet)
        print(f"contact sheet: {path}")
    print("to go on, once that is mended:" if findings.problems else "to go on:")
    print("\n".join(f"  {command}" for command in commands))
    sys.exit(1 if findings.problems else 0)


if __name__ == "__main__":
    one_liner(main)

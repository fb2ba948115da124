"""Check a data set before training on it: list its images, its problems and the next command.

lama check-data my_dataset                    # images, or train/ and val/
lama check-data IMAGES --crop 512 --sheet look.png     # draws a contact sheet too
"""

import sys
from pathlib import Path

from lama.verbs import parser


def main(arguments: list[str]) -> None:
    expected = parser("check-data", str(__doc__))
    expected.add_argument("folder", type=Path)
    expected.add_argument("--crop", type=int, default=256, help="size of the training crops in pixels")
    expected.add_argument("--sheet", type=Path, help="write a contact sheet of images and masks to this file")
    options = expected.parse_args(arguments)
    from lama.data.check import check_folder
    from lama.files import check_writable
    from lama.pictures.images import SUFFIXES, write_image

    root = options.folder.expanduser()
    if options.crop < 16 or (options.sheet and options.sheet.suffix.lower() not in SUFFIXES):
        raise ValueError("expected --crop of at least 16 pixels, and --sheet with the suffix of an image")
    if options.sheet:
        check_writable(options.sheet.parent, "--sheet", options.sheet)
    findings, sheet, commands = check_folder(root, options.crop)
    print("\n".join(findings.lines))
    for problem in findings.problems:
        print(f"problem: {problem}")
    if sheet is not None and options.sheet:
        write_image(options.sheet, sheet)
        print(f"contact sheet: {options.sheet}")
    print("next, once the problems are fixed:" if findings.problems else "next:")
    print("\n".join(f"  {command}" for command in commands))
    sys.exit(1 if findings.problems else 0)

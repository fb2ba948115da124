"""Released networks: what is known, what is on this machine, and fetching one.

lama weights list                      # name, size, where it lies, what it was trained on
lama weights get big-lama              # fetch it, or find it where another program put it; prints its path
lama weights verify                    # compute the sha256 of every file here again
lama weights where                     # the folders that are searched

A name works wherever a model is expected: lama predict model.path=big-lama ..., lama.load("big-lama").
"""

import sys
from collections.abc import Sequence

from lama.verbs import parser


def main(arguments: Sequence[str]) -> None:
    expected = parser("weights", str(__doc__))
    expected.add_argument("action", choices=("list", "get", "verify", "where"))
    expected.add_argument("names", nargs="*", metavar="NAME", help="networks, or files of losses and metrics")
    options = expected.parse_args(arguments)
    from lama.pretrained import listing

    listing.check_names(options.names)
    if options.action == "get":
        if not options.names:
            raise ValueError("get: expected the NAME of a network; lama weights list shows all")
        missing = []
        for name in options.names:
            try:
                print(listing.get(name))
            except FileNotFoundError as error:
                missing.append(str(error))
        if missing:
            raise FileNotFoundError("\n".join(missing))
    elif options.action == "where":
        print("\n".join(listing.where()))
    elif options.action == "list":
        print("\n".join(listing.table(options.names)))
    else:
        lines, damaged = listing.verify(options.names)
        print("\n".join(lines))
        sys.exit(1 if damaged else 0)

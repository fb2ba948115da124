"""Compare a model with others on the same images, image by image.

lama compare OUT_A OUT_B [OUT_C ...]    # folders that lama evaluate has written: the first against each
lama compare OUT_A OUT_B outdir=DIR     # files as well: comparison.md, .tex, .csv, .json
lama compare ROW_A ROW_B set=SET        # of a sweep: ROW_A/seed*/SET against ROW_B/seed*/SET

outdir=, set= and plugins=[A,B] may be written as options too: --set SET.
"""

import re
from pathlib import Path

from lama.config import use_plugins
from lama.verbs import parser


def main(arguments: list[str]) -> None:
    expected = parser("compare", str(__doc__))
    expected.add_argument("first", help="outdir of one evaluation, or DIR/evaluations/ROW of a sweep")
    expected.add_argument("others", nargs="*", help="outdirs of the other evaluations, or the other rows")
    expected.add_argument("--outdir", type=Path, help="write comparison.md, .tex, .csv and .json into this folder")
    expected.add_argument("--set", help="evaluation set of a sweep, such as random_thick_256; all its seeds are used")
    expected.add_argument("--plugins", default="", help="packages with metrics of your own: A,B (docs/plugins.md)")
    arguments = [f"--{one}" if re.match("(outdir|set|plugins)=", one) else one for one in arguments]
    options = expected.parse_intermixed_args(arguments)
    use_plugins([name for name in options.plugins.strip("[]").split(",") if name])
    if not options.others:
        raise ValueError(f"{options.first}: nothing to compare it with; expected two evaluations or more")
    from lama.evaluation.compare import compare_all, not_compared, short_names
    from lama.evaluation.comparison_files import comparison_table, explanation, write_comparison
    from lama.files import check_writable
    from lama.pages.table import to_markdown

    if options.outdir:
        check_writable(options.outdir, "outdir")
    folders = [options.first, *options.others]
    results = compare_all(folders, options.set)
    first = short_names(folders)[0]
    lines = [explanation(results, first, of_seeds=options.set is not None)]
    about = "\n".join([*lines, *not_compared(folders, options.set)])
    print(f"{to_markdown(comparison_table(results, first))}\n{about}")
    if options.outdir:
        write_comparison(options.outdir, results, first, about)
        print(f"written to {options.outdir}: comparison.md, .tex, .csv, .json")

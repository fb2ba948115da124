"""Compare a model with others on the same images, image by image.

lama compare OUT_A OUT_B [OUT_C ...]    # folders that lama evaluate has written: the first against each
lama compare OUT_A OUT_B outdir=DIR     # files as well: comparison.md, .tex, .csv, .json
lama compare ROW_A ROW_B --set SET      # of a sweep: ROW_A/seed*/SET against ROW_B/seed*/SET
"""

from pathlib import Path

from lama.config import use_plugins
from lama.verbs import parser


def main(arguments: list[str]) -> None:
    expected = parser("compare", str(__doc__))
    expected.add_argument("first", help="outdir of one evaluation, or DIR/evaluations/ROW of a sweep")
    expected.add_argument("others", nargs="+", help="outdirs of the other evaluations, or the other rows; outdir=DIR")
    expected.add_argument("--set", help="evaluation set of a sweep, such as random_thick_256; all its seeds are used")
    expected.add_argument("--plugins", default="", help="packages with metrics of your own: A,B; as plugins=[A,B]")
    options = expected.parse_intermixed_args(arguments)  # outdir= may come after an option
    outdirs = [one.removeprefix("outdir=") for one in options.others if one.startswith("outdir=")]
    packages = [one.removeprefix("plugins=").strip("[]") for one in options.others if one.startswith("plugins=")]
    use_plugins([name.strip() for name in ",".join([options.plugins, *packages]).split(",") if name])
    others = [one for one in options.others if not one.startswith(("outdir=", "plugins="))]
    if not others:
        raise ValueError(f"{options.first}: nothing to compare it with; expected two evaluations or more")
    from lama.evaluation.compare import compare_all, not_compared, short_names
    from lama.evaluation.comparison_files import comparison_table, explanation, write_comparison
    from lama.files import check_writable
    from lama.pages.table import to_markdown

    for outdir in outdirs:
        check_writable(Path(outdir))
    results = compare_all([options.first, *others], options.set)
    first = short_names([options.first, *others])[0]
    lines = [explanation(results, first, of_seeds=options.set is not None)]
    about = "\n".join([*lines, *not_compared([options.first, *others], options.set)])
    print(f"{to_markdown(comparison_table(results, first))}\n{about}")
    for outdir in outdirs:
        write_comparison(outdir, results, first, about)
        print(f"written to {outdir}: comparison.md, .tex, .csv, .json")

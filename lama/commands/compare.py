"""Compare two models on the same images, image by image.

lama compare OUT_A OUT_B                # two folders that lama evaluate has written
lama compare ROW_A ROW_B --set SET      # of a sweep: ROW_A/seed*/SET against ROW_B/seed*/SET
"""

from lama.verbs import parser


def main(arguments: list[str]) -> None:
    expected = parser("compare", str(__doc__))
    expected.add_argument("a", help="outdir of one evaluation, or DIR/evaluations/ROW of a sweep")
    expected.add_argument("b", help="outdir of the other evaluation, or the other row")
    expected.add_argument("--set", help="evaluation set of a sweep, such as random_thick_256; all its seeds are used")
    options = expected.parse_args(arguments)
    from lama.evaluation.compare import compare, comparison_table

    results = compare(options.a, options.b, options.set)
    print(comparison_table(results, "a", "b"))
    n, seeds = max((result["n"], result["seeds"]) for result in results.values())
    trained = "{} and {} seeds".format(*seeds) if options.set else "one evaluation each"
    print(f"a = {options.a}, b = {options.b}; {n} images, {trained}. Intervals of the difference: over images")
    print("(bootstrap) and over trainings (Welch's t, if each has two or more). better, equal: numbers of images.")
    print("Metrics of whole sets (FID, KID, ...) have no paired comparison.")

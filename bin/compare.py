"""Compare two models on the same images, image by image.

python bin/compare.py OUT_A OUT_B                # two folders that bin/evaluate.py has written
python bin/compare.py ROW_A ROW_B --set SET      # of a sweep: ROW_A/seed*/SET against ROW_B/seed*/SET
"""

import argparse

from lama.config import one_liner
from lama.evaluation.compare import compare, comparison_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", help="outdir of one evaluation, or DIR/evaluations/ROW of a sweep")
    parser.add_argument("b", help="those of the other")
    parser.add_argument(
        "--set", help="evaluation set of a sweep, random_thick_256 say; its seeds are compared together"
    )
    arguments = parser.parse_args()
    results = compare(arguments.a, arguments.b, arguments.set)
    print(comparison_table(results, "a", "b"))
    n, seeds = max((result["n"], result["seeds"]) for result in results.values())
    trained = "{} and {} seeds".format(*seeds) if arguments.set else "one evaluation each"
    print(f"a = {arguments.a}, b = {arguments.b}; {n} images, {trained}. Intervals of the difference: over images")
    print("(bootstrap) and over trainings (Welch's t, of two or more each). better, equal: numbers of images.")
    print("Metrics of whole sets (FID, KID, ...) have no paired comparison.")


if __name__ == "__main__":
    one_liner(main)

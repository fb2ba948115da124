"""Compare two models on the same pictures, picture by picture.

python bin/compare.py OUT_A OUT_B        # two folders that bin/evaluate.py has written
"""

import argparse

from lama.config import one_liner
from lama.evaluation.compare import compare, comparison_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", help="outdir of one evaluation")
    parser.add_argument("b", help="outdir of the other")
    arguments = parser.parse_args()
    results = compare(arguments.a, arguments.b)
    print(comparison_table(results, "a", "b"))
    n = max(result["n"] for result in results.values())
    print(f"a = {arguments.a}, b = {arguments.b}; {n} pictures; 95 %: bootstrap interval of the difference;")
    print("better, equal: numbers of pictures. Metrics of whole sets (FID, KID, ...) have no paired comparison.")


if __name__ == "__main__":
    one_liner(main)

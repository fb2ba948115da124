"""Places365 from its three archives: train/, val/, visual_test/ and evaluation/, as the configurations name them.

python bin/prepare_places.py train_large_places365standard.tar val_large.tar test_large.tar places_standard_dataset
python bin/prepare_places.py train_large_places365challenge.tar val_large.tar test_large.tar challenge \\
    --categories categories_157.txt
"""

import argparse
from pathlib import Path

from lama.config import build_data_gen, one_liner
from lama.data.prepare import prepare_places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("train", "val", "test"):
        parser.add_argument(name, type=Path, help=f"the {name} archive")
    parser.add_argument("out", type=Path)
    parser.add_argument("--categories", type=Path, help="keep training images with one of these names in their path")
    parser.add_argument("--n-jobs", type=int, default=0, help="processes that draw masks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--counts", type=int, nargs=3, default=(2000, 100, 30000), metavar=("VAL", "VISUAL", "EVALUATION")
    )
    arguments = parser.parse_args()
    build = build_data_gen(arguments.seed)
    a = arguments
    lines = prepare_places(a.train, a.val, a.test, a.out, build, a.n_jobs, a.seed, a.categories, tuple(a.counts))
    print("\n".join(lines))


if __name__ == "__main__":
    one_liner(main)

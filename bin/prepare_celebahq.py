"""CelebA-HQ at 256 from data256x256.zip: train_256/, val_256/ and visual_test_256/, as the configurations name them.

python bin/prepare_celebahq.py data256x256.zip celeba-hq-dataset --val-list val_shuffled.flist
"""

import argparse
from pathlib import Path

from lama.config import build_data_gen, one_liner
from lama.data.prepare import prepare_celebahq


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--val-list", type=Path, help="images to look at, one name a line; default: drawn from the seed"
    )
    parser.add_argument("--n-jobs", type=int, default=0, help="processes that draw masks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", type=int, nargs=2, default=(2000, 2000), metavar=("VAL", "VISUAL"))
    a = parser.parse_args()
    build = build_data_gen(a.seed)
    lines = prepare_celebahq(a.archive, a.out, build, a.n_jobs, a.seed, tuple(a.counts), a.val_list)
    print("\n".join(lines))


if __name__ == "__main__":
    one_liner(main)

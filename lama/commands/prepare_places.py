"""Unpack Places365 from its three archives into train/, val/, visual_test/ and evaluation/, the official layout.

lama prepare-places train_large_places365standard.tar val_large.tar test_large.tar places_standard_dataset
lama prepare-places train_large_places365challenge.tar val_large.tar test_large.tar challenge \\
    --categories categories_157.txt

If it is interrupted, the same command continues.
"""

from pathlib import Path

from lama.config import build_data_gen
from lama.verbs import parser


def main(arguments: list[str]) -> None:
    expected = parser("prepare-places", str(__doc__))
    for name in ("train", "val", "test"):
        expected.add_argument(name, type=Path, help=f"the {name} archive")
    expected.add_argument("out", type=Path)
    expected.add_argument("--categories", type=Path, help="keep training images with one of these names in their path")
    expected.add_argument("--n-jobs", type=int, default=0, help="number of processes that draw masks")
    expected.add_argument("--seed", type=int, default=0)
    expected.add_argument(
        "--counts", type=int, nargs=3, default=(2000, 100, 30000), metavar=("VAL", "VISUAL", "EVALUATION")
    )
    a = expected.parse_args(arguments)
    from lama.data.prepare import prepare_places

    build = build_data_gen(a.seed)
    lines = prepare_places(a.train, a.val, a.test, a.out, build, a.n_jobs, a.seed, a.categories, tuple(a.counts))
    print("\n".join(lines))

"""Unpack CelebA-HQ at 256 from data256x256.zip into train_256/, val_256/ and visual_test_256/, the official layout.

lama prepare-celebahq data256x256.zip celeba-hq-dataset --val-list val_shuffled.flist

If it is interrupted, the same command continues.
"""

from pathlib import Path

from lama.config import build_data_gen
from lama.verbs import parser


def main(arguments: list[str]) -> None:
    expected = parser("prepare-celebahq", str(__doc__))
    expected.add_argument("archive", type=Path)
    expected.add_argument("out", type=Path)
    expected.add_argument("--val-list", type=Path, help="names of visual_test_256, one a line; default: by --seed")
    expected.add_argument("--n-jobs", type=int, default=0, help="number of processes that draw masks")
    expected.add_argument("--seed", type=int, default=0)
    expected.add_argument("--counts", type=int, nargs=2, default=(2000, 2000), metavar=("VAL", "VISUAL"))
    a = expected.parse_args(arguments)
    from lama.data.prepare import prepare_celebahq

    build = build_data_gen(a.seed)
    lines = prepare_celebahq(a.archive, a.out, build, a.n_jobs, a.seed, tuple(a.counts), a.val_list)
    print("\n".join(lines))

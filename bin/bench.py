"""Speed, as ratios of alternated runs.

python bin/bench.py masks                            # masks per second, beside a straightforward version
python bin/bench.py data IMAGES                    # images per second, with and without the cache
python bin/bench.py fid                              # the Fréchet distance, beside scipy's matrix root
python bin/bench.py predict                          # the trained module beside its fused equivalent, an hour
python bin/bench.py hole                             # a small hole in a large photograph: its surroundings or the whole
python bin/bench.py train                            # official as published, ours, and each option's share, long
python bin/bench.py predict --sizes 512 --rounds 5 --variants "fp32 compiled"
"""

import sys

from omegaconf import OmegaConf

from lama import bench
from lama.config import CONFIGS, build, build_data_gen, load_yaml, one_liner


def masks() -> list[str]:
    names = [f"random_{kind}_{size}" for kind in ("thin", "medium", "thick") for size in (256, 512)]
    samplers = {name: (build_data_gen(0)(name)[0].masks, int(name[-3:])) for name in names}
    wide = OmegaConf.create({"masks": load_yaml(CONFIGS / "training/masks/train_wide.yaml")})
    wide.recipe = {"one_more_stroke": True}
    return bench.bench_masks(samplers | {"train_wide": (build(wide.masks, "masks"), 256)})


def main(what: str = "", *rest: str) -> None:
    if {what, *rest} & {"--help", "-h"} and what not in ("hole", "predict", "train"):  # these have options
        print(__doc__)
        return
    verbs = {"masks": masks} | {
        name: getattr(bench, f"bench_{name}") for name in ("fid", "data", "hole", "predict", "train")
    }
    if what not in verbs:
        raise ValueError(f"expected what to measure, one of {', '.join(verbs)}; got {what or 'nothing'}")
    if what not in ("hole", "predict", "train") and (what == "data") != (len(rest) == 1):
        raise ValueError("expected python bin/bench.py masks|fid|hole|predict|train, or data IMAGES, a folder")
    print("\n".join(verbs[what](*rest)))


if __name__ == "__main__":
    one_liner(lambda: main(*sys.argv[1:]))

"""Remove things from pictures: white in the mask = remove.

python bin/predict.py model.path=runs/demo indir=PICTURES outdir=RESULTS      # name.png + name_mask001.png
python bin/predict.py model.path=runs/demo image=a.jpg mask=m.png out=b.png
"""

import sys
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

import lama
from lama.config import run
from lama.data.evaluation_set import find_pairs, read_pair
from lama.data.images import SUFFIXES, write_image


def main(config: DictConfig) -> None:
    from lama.inference import fill_all

    model = config.model.path  # missing is the first thing to say
    single, folder = (config.image, config.mask, config.out), (config.indir, config.outdir)
    if not (all(single) and not any(folder)) and not (all(folder) and not any(single)):
        got = [f"{k}=" for k in ("indir", "outdir", "image", "mask", "out") if config[k]]
        raise ValueError(f"expected indir= and outdir=, or image=, mask= and out=; got {' '.join(got) or 'none'}")
    if config.out_ext not in SUFFIXES:
        raise ValueError(f"out_ext={config.out_ext}: expected one of {' '.join(SUFFIXES)}")
    if all(single):
        image, mask, out = (Path(path) for path in single)
        if out.suffix.lower() not in SUFFIXES:
            raise ValueError(f"out={out}: expected a name that ends in one of {' '.join(SUFFIXES)}")
        pairs, root, targets = [(image, mask)], mask.parent, lambda _: out
    else:
        root = Path(config.indir)
        pairs, targets = list(find_pairs(root)), lambda name: Path(config.outdir) / f"{name}{config.out_ext}"

    def save(name: str, result: object) -> Path:
        write_image(targets(name), result)
        return targets(name)

    inpainter = lama.load(model, config.device)
    failures = fill_all(inpainter, [partial(read_pair, root, *pair) for pair in pairs], save)
    print(f"{len(pairs) - len(failures)} of {len(pairs)} pictures written to {config.out or config.outdir}")
    if failures:
        print("\n".join(f"error: {failure}" for failure in failures), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run(main, "prediction", "default")

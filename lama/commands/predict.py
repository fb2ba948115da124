"""Remove objects from images: white in the mask is removed. More in docs/prediction.md.

lama predict image=a.jpg mask=m.png out=b.png                                    # with `small`, from this package
lama predict model.path=runs/demo indir=IMAGES outdir=RESULTS                    # name.png + name_mask001.png
lama predict model.path=runs/demo indir=IMAGES maskdir=MASKS outdir=RESULTS      # masks named like the images
lama predict model.path=runs/demo indir=IMAGES mask=m.png outdir=RESULTS         # one mask for all images
lama predict model.path=runs/demo pairs=list.csv                                 # columns image, mask, out
"""

import logging
import sys

from omegaconf import OmegaConf

from lama.config import build, flag, printable, read

PLACES = ("indir", "maskdir", "outdir", "image", "mask.path", "out", "pairs")
SHORT = {"mask": "mask.path", "model": "model.path"}
SMALL = "lama-small, from this package, for non-commercial research; choose another with model.path="


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "prediction", paths=("model.path", *PLACES), short=SHORT)
    from lama.checkpoints import load_generator
    from lama.machine.memory import tune_allocator
    from lama.pictures.prediction_jobs import PredictionPlan, fill_all
    from lama.pictures.prediction_set import find

    model = config.model.path
    found = find({key.split(".")[0]: OmegaConf.select(config, key) for key in PLACES}, config.out_ext)
    masks = build({key: value for key, value in config.mask.items() if key != "path"}, "mask")
    plan = PredictionPlan(found, masks, config.quality, flag(config, "skip_existing"), flag(config, "overwrite"))
    tune_allocator(plan.largest())
    refiner = build(config.refiner, "refiner") if flag(config, "refine") else None
    inpainter = build(config.inpainter, "")(load_generator(model), refiner=refiner)
    logging.info("model: %s", SMALL if model == "small" else model)
    outcome = fill_all(inpainter, plan.jobs)
    for line in plan.notices.counted():
        print(printable(line), file=sys.stderr)
    for failure in outcome.failures:
        print(f"error: {printable(failure)}", file=sys.stderr)
    summary = plan.summary(outcome.done, outcome.stopped)
    print(summary, file=sys.stderr if outcome.stopped else sys.stdout)
    sys.exit(outcome.exit_code)

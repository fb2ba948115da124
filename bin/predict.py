"""Remove things from images: white in the mask = remove. docs/prediction.md has the rest.

python bin/predict.py image=a.jpg mask=m.png out=b.png                                  # by small, of this package
python bin/predict.py model.path=runs/demo indir=IMAGES outdir=RESULTS                # name.png + name_mask001.png
python bin/predict.py model.path=runs/demo indir=IMAGES maskdir=MASKS outdir=RESULTS  # masks named like the images
python bin/predict.py model.path=runs/demo indir=IMAGES mask=m.png outdir=RESULTS     # one mask for all
python bin/predict.py model.path=runs/demo pairs=list.csv                               # columns image, mask, out
"""

import logging
import sys

from omegaconf import DictConfig, OmegaConf

from lama.config import build, flag, printable, run

PLACES = ("indir", "maskdir", "outdir", "image", "mask.path", "out", "pairs")


def main(config: DictConfig) -> None:
    from lama.checkpoints import load_generator  # torch comes with them: not before Ctrl-C is listened to
    from lama.machine.allocator import tune_allocator
    from lama.pictures.folder import fill_all
    from lama.pictures.prediction_jobs import PredictionPlan
    from lama.pictures.prediction_set import find

    model = config.model.path  # missing is the first thing to say
    found = find({key.split(".")[0]: OmegaConf.select(config, key) for key in PLACES}, config.out_ext)
    masks = build({key: value for key, value in config.mask.items() if key != "path"}, "mask")
    plan = PredictionPlan(found, masks, config.quality, flag(config, "skip_existing"), flag(config, "overwrite"))
    tune_allocator(plan.largest())
    refiner = build(config.refiner, "refiner") if flag(config, "refine") else None
    inpainter = build(config.inpainter, "")(load_generator(model), refiner=refiner)
    small = "lama-small, of this package, for non-commercial research; another by model.path="
    logging.info("model: %s", small if model == "small" else model)
    outcome = fill_all(inpainter, plan.jobs)
    for line in plan.notices.counted():
        print(printable(line), file=sys.stderr)
    for failure in outcome.failures:
        print(f"error: {printable(failure)}", file=sys.stderr)
    summary = plan.summary(outcome.done, outcome.stopped)
    print(summary, file=sys.stderr if outcome.stopped else sys.stdout)
    sys.exit(outcome.exit_code)


if __name__ == "__main__":
    run(
        main, "prediction", "default", paths=("model.path", *PLACES), short={"mask": "mask.path", "model": "model.path"}
    )

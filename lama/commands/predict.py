"""Remove objects from images: white in the mask is removed. More in docs/prediction.md.

lama predict image=a.jpg mask=m.png out=b.png                                    # with `small`, from this package
lama predict model.path=runs/demo indir=IMAGES outdir=RESULTS                    # name.png + name_mask001.png
lama predict model.path=runs/demo indir=IMAGES maskdir=MASKS outdir=RESULTS      # masks named like the images
lama predict model.path=runs/demo indir=IMAGES mask=m.png outdir=RESULTS         # one mask for all images
lama predict model.path=big-lama pairs=list.csv        # columns image, mask, out; a released network, fetched once
"""

import logging
import sys

from omegaconf import OmegaConf

from lama.config import build, flag, official_prediction, printable, read

PLACES = ("indir", "maskdir", "outdir", "image", "mask.path", "out", "pairs")
UNQUOTED = ("model.path", "model.checkpoint", "dataset.img_suffix", "ignore", *PLACES)
SHORT = {"mask": "mask.path", "model": "model.path"}
SMALL = "lama-small, from this package, for non-commercial research; choose another with model.path="


def main(arguments: list[str]) -> None:
    arguments, notes = official_prediction(arguments)
    config = read(arguments, str(__doc__), "prediction", paths=UNQUOTED, short=SHORT)
    for note in notes:
        logging.info("%s", note)
    if config.out_key not in ("inpainted", "predicted_image"):
        raise ValueError(f"out_key={config.out_key}: expected inpainted or predicted_image")
    from lama.checkpoints import in_folder, load_generator
    from lama.machine.allocator import tune_allocator
    from lama.pictures.images import allow_megapixels
    from lama.pictures.prediction_jobs import PredictionPlan, fill_all
    from lama.pictures.prediction_set import find

    allow_megapixels(config.max_megapixels)
    model = in_folder(config.model.path, config.model.checkpoint)
    places = {key.split(".")[0]: OmegaConf.select(config, key) for key in PLACES}
    found = find(places, config.out_ext, config.dataset.img_suffix, flag(config, "mask.join"))
    masks = build({key: value for key, value in config.mask.items() if key not in ("path", "join")}, "mask")
    skip, overwrite = flag(config, "skip_existing"), flag(config, "overwrite")
    plan = PredictionPlan(found, masks, config.quality, skip, overwrite, config.ignore)
    tune_allocator(plan.largest())
    refiner = build(config.refiner, "refiner") if flag(config, "refine") else None
    inpainter = build(config.inpainter, "")(load_generator(model), refiner=refiner)
    logging.info("model: %s", SMALL if model == "small" else model)
    outcome = fill_all(inpainter if config.out_key == "inpainted" else inpainter.raw, plan.jobs)
    for line in plan.notices.counted():
        print(printable(line), file=sys.stderr)
    for failure in outcome.failures:
        print(f"error: {printable(failure)}", file=sys.stderr)
    summary = plan.summary(outcome.done, outcome.stopped)
    print(summary, file=sys.stderr if outcome.stopped else sys.stdout)
    sys.exit(outcome.exit_code)

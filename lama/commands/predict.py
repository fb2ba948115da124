"""Remove objects from images: white in the mask is removed. More in docs/prediction.md.

lama predict image=a.jpg mask=m.png out=b.png                                    # with `small`, from this package
lama predict model.path=runs/demo indir=IMAGES outdir=RESULTS                    # name.png + name_mask001.png
lama predict model.path=runs/demo indir=IMAGES maskdir=MASKS outdir=RESULTS      # masks named like the images
lama predict model.path=runs/demo indir=IMAGES mask=m.png outdir=RESULTS         # one mask for all images
lama predict model.path=big-lama pairs=list.csv        # columns image, mask, out; a released network, fetched once
lama predict model.path=small.onnx indir=IMAGES mask=m.png outdir=RESULTS        # an export: by ONNX Runtime, no torch
lama predict -m shards=64 launcher=slurm indir=IMAGES mask=m.png outdir=RESULTS  # 64 jobs of a cluster
"""

import logging
import sys
from functools import partial

from lama.config import flag, official_prediction, printable, read
from lama.machine.startup import may_use_gpu, quick_start
from lama.sweeps.prediction import PLACES, inpainter_of, plan_of

UNQUOTED = ("model.path", "model.checkpoint", "dataset.img_suffix", "ignore", *PLACES)
SHORT = {"mask": "mask.path", "model": "model.path"}
SMALL = "lama-small, from this package, for non-commercial research; choose another with model.path="
READ = partial(read, usage=str(__doc__), group="prediction", paths=UNQUOTED, short=SHORT)


def main(arguments: list[str]) -> None:
    arguments, notes = official_prediction(arguments)
    for note in notes:
        logging.info("%s", note)
    if {"-m", "--multirun"} & set(arguments):
        from lama.sweeps.predict import start

        start(arguments, READ)
        return
    config = READ(arguments)
    # Computations that may use any part of torch.
    whole = flag(config, "refine") or bool(config.plugins) or may_use_gpu(str(config.device))
    with quick_start(whole):
        from lama.machine.allocator import tune_allocator
        from lama.pictures.prediction_jobs import fill_all
        from lama.sweeps.shards import alone

    with alone(config):
        plan = plan_of(config, flag(config, "skip_existing"))
        if not plan.jobs:
            print(plan.summary(0, ""))
            return
        tune_allocator(plan.largest())
        with quick_start(whole):
            inpainter, model = inpainter_of(config)
        logging.info("model: %s", SMALL if model == "small" else model)
        outcome = fill_all(inpainter, plan.jobs)
    for line in plan.notices.counted():
        print(printable(line), file=sys.stderr)
    for failure in outcome.failures:
        print(f"error: {printable(failure)}", file=sys.stderr)
    summary = plan.summary(outcome.done, outcome.stopped)
    print(summary, file=sys.stderr if outcome.stopped else sys.stdout)
    sys.exit(outcome.exit_code)

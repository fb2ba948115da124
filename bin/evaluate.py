"""Measure predictions, or a model, on a folder of images and masks.

    python bin/evaluate.py indir=PAIRS predictdir=PREDICTIONS outdir=OUT    # predictions named after the masks
    python bin/evaluate.py indir=PAIRS model.path=runs/demo outdir=OUT metrics=quick
    python bin/evaluate.py indir=PAIRS baseline=telea outdir=OUT metrics=[psnr_hole,lpips_squeeze] \\
        weights.lpips_squeeze=FILE
"""

import logging

from omegaconf import DictConfig
from tqdm import tqdm

import lama
from lama.config import build, flag, run
from lama.data.evaluation_set import PairFolder, PredictionFolder, batches_by_size
from lama.evaluation.baselines import find_baseline
from lama.evaluation.report import write_evaluation
from lama.evaluation.tables import prepare
from lama.machine.device import pick_device

PATHS = ("indir", "predictdir", "model.path", "outdir", "cache")


def main(config: DictConfig) -> None:
    sources = {"predictdir": config.predictdir, "model.path": config.model.path, "baseline": config.baseline}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        expected = "predictdir=FOLDER, model.path=MODEL and baseline=METHOD"
        raise ValueError(f"expected exactly one of {expected}, got {' and '.join(given) or 'none'}")
    if config.batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {config.batch_size}")
    pairs = PairFolder(config.indir)
    device = pick_device(config.device)
    if config.predictdir is not None:
        complete = PredictionFolder(config.predictdir, pairs).read
    elif config.baseline is not None:
        fill = find_baseline(config.baseline)
        complete = lambda batch: [fill(pair.image, pair.mask) for pair in batch]  # noqa: E731
    else:  # the plain network on the whole frame: numbers do not depend on the memory of a machine
        inpainter = lama.load(config.model.path, config.device, strategy="full", fast=False)
        complete = lambda batch: inpainter.many([p.image for p in batch], [p.mask for p in batch])  # noqa: E731
    evaluator = build(config.evaluator, "evaluator")
    for name in evaluator.unread:
        logging.warning("weights.%s is given, but the metrics are %s", name, ", ".join(evaluator.metrics))
    prepare(config.outdir, flag(config, "overwrite"), keep_apart=(config.indir, config.predictdir))
    with tqdm(total=len(pairs), desc="evaluating", unit="image") as progress:
        for names, *tensors in batches_by_size(pairs, complete, config.batch_size):
            evaluator.update(names, *(tensor.to(device) for tensor in tensors))
            progress.update(len(names))
    what = {"indir": str(config.indir), "predictions": str(sources[given[0]]), "images": len(pairs)}
    index = {name: i for i, name in enumerate(pairs.names)}
    example = lambda name: ((pair := pairs[index[name]]).image, pair.mask, complete([pair])[0])  # noqa: E731
    print(write_evaluation(config.outdir, evaluator, what | {"evaluation_set": pairs.hashes()}, example))


if __name__ == "__main__":
    run(main, "evaluation", "default", paths=PATHS, short={"model": "model.path"})
